/** Puts the portal into a page and hands its events on. `VERSION`, `PORTAL` and `EVENTS` are written in by the build. */
export const version = VERSION;
export const portal = PORTAL;

export function load(element, onEvent) {
  const frame = element.ownerDocument.createElement("iframe");
  frame.src = `https://portal.navi.example/v${portal}/`;
  element.append(frame);
  element.ownerDocument.defaultView.addEventListener("message", ({ source, data }) => {
    if (source === frame.contentWindow && EVENTS.includes(data.name)) onEvent(data);
  });
  return frame;
}
