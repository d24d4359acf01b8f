import { FileStore } from "remint/file";
import { contract } from "./contract.mjs";
import { scratch } from "./servers.mjs";
const folder = scratch();
contract("a folder", () => new FileStore(folder));
