// Which loader belongs to which version of this package's API.
export const CDN_VERSION_MAP = {
  "0.1.0": "v0.1.0", // the first one
};
