// Socket.IO with its Redis adapter; what a client sends as the event "publish" goes to a room, in which all are.
// Usage: node node_socketio.mjs REDIS_URL; prints its port.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const commands = new Redis(process.argv[2]);
const server = createServer();
const io = new Server(server, {
  adapter: createAdapter(commands, commands.duplicate()),
  transports: ["websocket"],
  perMessageDeflate: false,
});

io.on("connection", (socket) => {
  socket.join("room");
  socket.on("publish", (data) => io.to("room").emit("message", data));
});
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => console.log(server.address().port));
