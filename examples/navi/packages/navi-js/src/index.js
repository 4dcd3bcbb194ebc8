import { EVENTS } from "@awell-health/navi-core";
import { CDN_VERSION_MAP } from "./shared.js";

/** The newest loader that this package knows. */
export const LOADER = Object.keys(CDN_VERSION_MAP).at(-1);

/** Where the loader of `version` lies on the CDN at `base`. */
export function loaderUrl(base, version = LOADER) {
  const folder = CDN_VERSION_MAP[version];
  if (folder === undefined) throw new RangeError(`there is no loader ${version}`);
  return `${base}/${folder}/navi-loader.js`;
}

/** Load it. */
export async function loadNavi(base, version = LOADER) {
  return import(loaderUrl(base, version));
}

export { EVENTS };
