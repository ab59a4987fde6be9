"use strict";
// node -r ./loopback.cjs program.js: whatever address a server asks for, it listens on 127.0.0.1 only.
const { Server } = require("node:net");

const listen = Server.prototype.listen;

Server.prototype.listen = function listenOnLoopback(...args) {
  const [first] = args;
  if (first !== null && typeof first === "object" && first.port !== undefined) {
    args[0] = { ...first, host: "127.0.0.1" };
  } else if (typeof first === "number" || (typeof first === "string" && /^\d+$/.test(first))) {
    const callback = args.find((argument) => typeof argument === "function");
    args = [{ port: Number(first), host: "127.0.0.1" }, ...(callback ? [callback] : [])];
  }
  return listen.apply(this, args);
};
