// Made by `npm --prefix web run page` from web/src/page. Change it there.

// src/page/encoder.ts
var QUALITY = 0.9;
var canvas = new OffscreenCanvas(1, 1);
var last = Promise.resolve();
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
