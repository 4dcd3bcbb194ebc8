"""Words that names of changeset files are made of: short, friendly, and hard to confuse when said aloud."""

from __future__ import annotations

ADJECTIVES = """
able bold brave brief bright brisk broad calm clean clear clever cool crisp deep eager early easy even fair fast
fine firm fresh gentle glad grand green handy happy honest keen kind large late light lively lucky merry mild neat
new nimble open plain proud quick quiet rapid ready rich round sharp shiny silent simple smart smooth soft solid
steady still strong sunny sweet swift tall tidy tiny true warm wide wild wise young
"""
NOUNS = """
anchors apples badgers bears bells birds boats books bridges brooks canaries candles clocks clouds comets corals
crows dancers deer doors doves dragons drums ducks eagles falcons ferns ferries fields flags flames foxes frogs
gardens gates geese harbors hares hawks herons hills horses islands kites lakes lamps larks leaves lions maples
meadows moons moths mountains oaks ospreys otters owls pears pebbles pilots pines plums ponds queens rabbits rivers
robins rockets roses sails seals sparrows stars storms swans tides tigers trains trees tulips waves whales winds
wolves wrens
"""
VERBS = """
arrive bake begin blink bloom bounce build call care carry chase cheer climb count cross dance dash dive draw dream
drift drive fly fold follow gather give glide glow grow guide hide hike hum invent jump knit laugh lead lean learn
leap lift listen march meet mend move nod paint pass play point pull push race reach read repair rest return ride
ring rise roam roll row run sail seek shine shout sing sit skip sleep smile speak spin stand stay swim swing talk
teach think travel try turn visit wait wake walk wander watch wave whisper win wonder work write
"""
