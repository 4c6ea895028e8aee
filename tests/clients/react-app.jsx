// An application on the hooks of docs/browser.md, which a test puts beside this file: what they do is on the page.

import { StrictMode, useRef, useState } from "react";
import { createRoot } from "react-dom/client";
import { useChannel, useStatus } from "./realtime.js";
import { useShared } from "./shared.js";

function Room({ name, channel }) {
  const { messages, members, publish } = useChannel(channel);
  return (
    <section id={name}>
      <ul>
        {messages.map(({ offset, data }) => (
          <li key={offset}>{data.text}</li>
        ))}
      </ul>
      <output>{[...members.values()].map(({ user }) => user).join(" ")}</output>
      <button onClick={() => publish({ text: `from ${name}` })}>Send</button>
    </section>
  );
}

function Board({ name }) {
  const [value, change] = useShared("board:1");
  return (
    <button id={name} onClick={() => change((before) => ({ count: (before?.count ?? 0) + 1 }))}>
      {JSON.stringify(value)}
    </button>
  );
}

function App() {
  const { state } = useStatus();
  const seen = useRef([]);
  if (seen.current.at(-1) !== state) seen.current.push(state);
  const [second, setSecond] = useState(false);
  const [channel, setChannel] = useState("chat:1");
  return (
    <>
      <p id="status">{state}</p>
      <p id="seen">{seen.current.join(" ")}</p>
      <button id="second" onClick={() => setSecond(!second)} />
      <button id="move" onClick={() => setChannel("chat:2")} />
      <Room name="one" channel={channel} />
      <Board name="board-one" />
      {second && <Room name="two" channel="chat:1" />}
      {second && <Board name="board-two" />}
    </>
  );
}

createRoot(document.querySelector("main")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
