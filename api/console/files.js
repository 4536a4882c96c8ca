// What was dropped or chosen, as files with the paths that they had.

/** Files of a drop, folders walked through. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    found.push({ file, path: entry.fullPath.replace(/^\//, "") });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return;
    for (const each of some) await walk(each, found);
  }
}

/** Files of an input. */
export function chosen(list) {
  return [...list].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** What to call a batch of these files. */
export function labelOf(files) {
  const tops = new Set(files.map(({ path }) => path.split("/")[0]));
  return (tops.size === 1 ? [...tops][0] : `${files[0].path.split("/").pop()} and ${files.length - 1} more`).slice(0, 200);
}
