// Made by `npm --prefix web run page` from web/src/page. Change it there.
var e=new OffscreenCanvas(1,1),n=Promise.resolve();self.onmessage=({data:s})=>{n=n.then(async()=>{let{width:a,height:t}=s;(e.width!==a||e.height!==t)&&(e=new OffscreenCanvas(a,t)),e.getContext("2d",{alpha:!1})?.drawImage(s,0,0),s.close(),self.postMessage(await e.convertToBlob({type:"image/jpeg",quality:.9}))})};
