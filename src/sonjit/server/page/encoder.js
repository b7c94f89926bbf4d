/** Worker that encodes images as JPEG outside the page's thread. */

const QUALITY = 0.9;
let canvas = new OffscreenCanvas(1, 1);

self.onmessage = async ({ data: { id, bitmap } }) => {
  const { width, height } = bitmap;
  if (canvas.width !== width || canvas.height !== height) canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d", { alpha: false })?.drawImage(bitmap, 0, 0);
  bitmap.close();
  self.postMessage({ id, blob: await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY }) });
};
