// One user of the JavaScript client, in a page, a worker or Node: hears a channel, publishes when told, and keeps a log.
//
// `make` is given what differs: the package, a class of sockets, and the gateways' addresses, which are tried in turn.

export function make({ Client, state, WebSocket, codec, urls, channel, board, patient }) {
  let turn = 0;
  const client = new Client(() => urls[turn++ % urls.length], {
    ...(WebSocket && { WebSocket }),
    ...(codec && { codec }),
    ...(patient && { random: () => 1000 }), // minutes between two attempts
    backoffFirst: 300,
    backoffMost: 800,
    connectTimeout: 1500,
    probeTimeout: 800,
  });
  const heard = [];
  const states = [];
  const failed = [];
  client.on("status", ({ state }) => states.at(-1) !== state && states.push(state));
  const room = client.subscribe(channel, ({ offset, data }) => heard.push([offset, data]), { presence: true });
  room.on("lost", ({ reason }) => heard.push(["lost", reason]));
  const shared = state(client, board);
  client.connect();
  return {
    client,
    publish(text) {
      client.publish(channel, text).catch(({ code }) => failed.push([text, code]));
      shared.update({ [text]: true }).catch(({ code }) => failed.push([text, "board", code]));
    },
    wake: () => client.wake(),
    report: () => ({
      heard,
      states,
      failed,
      state: client.status.state,
      active: room.active,
      queued: client.queued,
      members: room.members.size,
      board: shared.confirmed.value,
      pending: shared.pending,
    }),
  };
}
