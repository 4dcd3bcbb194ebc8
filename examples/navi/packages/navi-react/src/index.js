import { loadNavi, LOADER } from "@awell-health/navi-js";

/** A component that shows an activity; `react` is handed in, so that any version of it serves. */
export function naviEmbed(react, base) {
  return function NaviEmbed({ onEvent }) {
    const place = react.useRef(null);
    react.useEffect(() => {
      loadNavi(base).then(({ load }) => load(place.current, onEvent));
    }, []);
    return react.createElement("div", { ref: place, "data-loader": LOADER });
  };
}
