/** Worker that encodes images as JPEG outside the page's thread, in the order of their arrival. */

const QUALITY = 0.9;
let canvas = new OffscreenCanvas(1, 1);
let last = Promise.resolve();

self.onmessage = ({ data: bitmap }) => {
  last = last.then(async () => {
    const { width, height } = bitmap;
    if (canvas.width !== width || canvas.height !== height)
      canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d", { alpha: false })?.drawImage(bitmap, 0, 0);
    bitmap.close();
    self.postMessage(await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY }));
  });
};
