// A guest in a worker, dedicated or shared, whose script is a module.

import { Client } from "../../clients/js/dist/index.js";
import { msgpack } from "../../clients/js/dist/msgpack.js";
import { state } from "../../clients/js/dist/state.js";
import { serve } from "./guest-port.mjs";

serve({ Client, msgpack, state });
