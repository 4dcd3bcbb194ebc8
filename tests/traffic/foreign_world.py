"""Proxies that somebody else runs, beside which ours have their part."""

from crossfade.testing.visitors import visitor


class Foreign:
    """A proxy that somebody else runs, with a site of its own at `site`."""

    site = process = None

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    async def serves(self):
        async with visitor(self.site) as client:
            return (await client.get("/")).text
