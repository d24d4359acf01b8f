// node writer.mjs FOLDER KEY COUNT: adds COUNT to the number that is stored, one at a time, whoever else does. Behind the number is
// what tells this writer's records from all others. Says what went wrong, if anything did.
import { randomUUID } from "node:crypto";
import { FileStore } from "remint/file";

const [folder, key, count] = process.argv.slice(2);
try {
  const store = new FileStore(folder);
  process.send?.("ready");
  for (let added = 0; added < Number(count); ) {
    const before = await store.load(key);
    const { saved } = await store.save(key, before, `${parseInt(before ?? "0") + 1} ${randomUUID()}`, 60, undefined);
    if (saved) added++;
  }
} catch (error) {
  console.log(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
