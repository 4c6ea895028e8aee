// What the JavaScript client does with tokens, calls and members against a real gateway, in a page or in Node.
//
// `run` is given the client and what the test has made; it returns what happened, as JSON can hold it.  The app
// service behind the gateway knows the methods add, hang, refuse, revoke (a login) and drop (a user's connections).

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const failure = ({ code, message, unknown }) => ({ code, message, unknown });

/** Wait until something holds. */
async function until(holds, what) {
  for (let waited = 0; !holds(); waited += 20) {
    if (waited > 20_000) throw new Error(`waited for ${what}`);
    await sleep(20);
  }
}

/** Everything that a client's status was, without what repeats. */
function watch(client) {
  const told = [];
  client.on("status", ({ state, code, reason }) => {
    if (told.at(-1)?.state !== state) told.push({ state, code, reason });
  });
  return told;
}

export async function run({ Client, url, WebSocket, tokens }) {
  const options = { WebSocket, backoffFirst: 200, backoffMost: 400 };
  const parts = { renewed, calls, ofOneChannel, members, failing, revoked, replaced, expired };
  const made = Object.entries(parts).map(async ([name, part]) => [name, await part(Client, url, options, tokens)]);
  return Object.fromEntries(await Promise.all(made));
}

/** A token that ends soon: the next one is shown on the same connection. */
async function renewed(Client, url, options, { soon, long }) {
  const offered = [soon, long];
  let asked = 0;
  const client = new Client(url, { ...options, token: async () => offered[asked++] ?? null });
  const told = watch(client);
  client.connect();
  await until(() => asked === 2, "the renewal");
  await sleep(2500); // the first token has ended
  const sum = await client.call("add", { a: 2, b: 2 });
  client.close();
  return { asked, told: told.map(({ state }) => state), sum };
}

async function calls(Client, url, options, { long }) {
  const client = new Client(url, { ...options, token: long }).connect();
  const sum = await client.call("add", { a: 1, b: 2 });
  const late = await client.call("hang", null, { timeout: 200 }).catch(failure);
  const aborting = client.call("hang", null, { timeout: 400, signal: AbortSignal.timeout(100) });
  const aborted = await aborting.catch(failure);
  const refused = await client.call("refuse").catch(failure);
  const early = await client.call("add", null, { signal: AbortSignal.abort() }).catch(failure);
  client.close();
  const cut = await client.call("add", null, { ttl: 0 }).catch(failure);
  return { sum, late, aborted, refused, early, cut };
}

/** A channel that wants a token of its own, asked for again after a break. */
async function ofOneChannel(Client, url, options, { dropped, channel }) {
  const client = new Client(url, { ...options, token: dropped }).connect();
  let asked = 0;
  const heard = [];
  const own = client.subscribe("secret:1", ({ data }) => heard.push(data), { token: async () => (asked++, channel) });
  const without = await new Promise((resolve) => client.subscribe("secret:2").on("ended", resolve));
  await until(() => own.active, "the channel");
  await client.publish("secret:1", "before");
  await client.call("drop").catch(failure);
  await until(() => asked === 2 && own.active, "the channel again");
  await client.publish("secret:1", "after");
  await until(() => heard.length === 2, "both messages");
  client.close();
  return { asked, heard, without: failure(without) };
}

/** The list of members while one of them loses her connection. */
async function members(Client, url, options, { user, member, watcher }) {
  const watching = new Client(url, { ...options, token: watcher }).connect();
  const room = `room:${user}`;
  const joins = [];
  const list = watching.subscribe(room, null, { presence: true });
  list.on("join", ({ user }) => joins.push(`+${user}`));
  list.on("leave", ({ user }) => joins.push(`-${user}`));
  const client = new Client(url, { ...options, token: member }).connect();
  const own = client.subscribe(room, null, { presence: true });
  const names = ({ members }) => [...members.values()].map(({ user }) => user).sort();
  await until(() => list.members.size === 2 && own.members.size === 2, "both members");
  const before = client.status.client;
  await client.call("drop").catch(failure);
  await until(() => client.status.client !== before && own.active, "the return");
  await until(() => joins.length === 4 && own.members.size === 2, "the member again");
  const seen = [names(list), names(own)];
  client.close();
  await until(() => list.members.size === 1, "the end");
  watching.close();
  return { seen, joins: joins.slice(1) };
}

/** A callback that fails is asked again after waits that grow, and no faster. */
async function failing(Client, url, options, { long }) {
  const times = [];
  const token = async () => {
    times.push(Date.now());
    if (times.length < 4) throw new Error("the login service is down");
    return long;
  };
  const client = new Client(url, { ...options, token, random: () => 1 });
  const told = watch(client);
  client.connect();
  await until(() => client.status.state === "online", "the connection");
  client.close();
  const waits = times.slice(1).map((time, i) => time - times[i]);
  return { waits, states: told.map(({ state }) => state) };
}

/** A login that is revoked, and no other token: it ends, and says why. */
async function revoked(Client, url, options, { login }) {
  const client = new Client(url, { ...options, token: login });
  const told = watch(client);
  client.connect();
  await client.call("revoke", "first").catch(failure);
  await until(() => client.status.state === "offline", "the end");
  const { length } = told;
  await sleep(1000);
  return { status: client.status, states: told.map(({ state }) => state), quiet: told.length === length };
}

/** A login that is revoked, and a callback that has another: it goes on with that. */
async function replaced(Client, url, options, { other, long }) {
  const offered = [other, long];
  let asked = 0;
  const client = new Client(url, { ...options, token: async () => offered[asked++] ?? null });
  const told = watch(client);
  client.connect();
  await client.call("revoke", "second").catch(failure);
  await until(() => asked === 2 && client.status.state === "online", "the return");
  const sum = await client.call("add", { a: 3, b: 2 });
  client.close();
  return { asked, sum, offline: told.slice(0, -1).some(({ state }) => state === "offline") };
}

async function expired(Client, url, options, { bad }) {
  const client = new Client(url, { ...options, token: bad });
  client.connect();
  await until(() => client.status.state === "offline", "the refusal");
  return client.status;
}
