"""The commands, by what people come for: start, release, look, steer, prove. Each is imported when it is called."""
