// Node's ws as a server, see node_ws.py.  Its argument is the folder of the package.
import { createRequire } from "node:module";

const { WebSocketServer, WebSocket } = createRequire(import.meta.url)(process.argv[2]);
const everybody = new Set();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  backlog: 4096,
  perMessageDeflate: false,
  maxPayload: 0,
});

server.on("connection", (client, request) => {
  client.on("error", () => client.terminate());
  if (request.url === "/echo") {
    client.on("message", (data, binary) => client.send(data, { binary }));
  } else if (request.url === "/publish") {
    client.on("message", (data, binary) => {
      for (const subscriber of everybody) {
        if (subscriber.readyState === WebSocket.OPEN) subscriber.send(data, { binary });
      }
    });
  } else {
    everybody.add(client);
    client.on("close", () => everybody.delete(client));
  }
});
server.on("listening", () => console.log(server.address().port));
