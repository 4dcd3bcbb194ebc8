/** The events that an embedded activity sends to its page. */
export const EVENTS = Object.freeze(["navi.activity.ready", "navi.activity.progress", "navi.activity.completed"]);

/** An event as it crosses the frame's border; anything that is not one of EVENTS is refused. */
export function event(name, detail = {}) {
  if (!EVENTS.includes(name)) throw new TypeError(`${name} is not an event of Navi`);
  return { name, detail };
}
