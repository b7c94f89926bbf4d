/** Files that were dropped on the page. */

/** Return dropped files, and the files of dropped folders. */
export async function filesOf({ items, files }: DataTransfer): Promise<File[]> {
  const entries = [...items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null);
  const loose = [...files]; // empty after the first await
  return entries.length ? (await Promise.all(entries.map(filesOfEntry))).flat() : loose;
}

async function filesOfEntry(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    const file = entry as FileSystemFileEntry;
    return [await new Promise((resolve, reject) => file.file(resolve, reject))];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const files: File[] = [];
  for (;;) {
    // the browser returns up to 100 entries per call
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (!some.length) return files;
    for (const child of some) files.push(...(await filesOfEntry(child)));
  }
}
