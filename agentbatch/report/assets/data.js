// The data blocks: base64 of gzip of JSON, each unpacked when it is needed.

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const binary = atob(base64), bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

async function unpack(name) {
  const packed = bytesOf(document.getElementById(name).textContent);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Keeps the last few blocks: whoever opens an item opens its neighbour next.
class Unpacked {
  constructor(prefix, size) {
    this.prefix = prefix;
    this.size = size;
    this.kept = new Map();
  }

  async at(place) {
    const number = Math.floor(place / this.size);
    if (!this.kept.has(number)) {
      if (this.kept.size > 3) this.kept.delete(this.kept.keys().next().value);
      this.kept.set(number, unpack(`${this.prefix}-${number}`));
    }
    return (await this.kept.get(number))[place % this.size];
  }
}

// The rows of the table, as columns. Times are seconds.
async function readRows(table, progress) {
  const total = table.rows;
  const rows = {
    total, id: [], excerpt: [],
    status: new Uint8Array(total), error: new Uint16Array(total), cut: new Uint8Array(total),
    start: new Float64Array(total), queued: new Float64Array(total), work: new Float64Array(total),
    cost: new Float64Array(total), tokens: new Float64Array(total), requests: new Float64Array(total),
    in: new Float64Array(total), out: new Float64Array(total),
  };
  for (let number = 0, at = 0; number < table.blocks; number++) {
    const block = await unpack(`rows-${number}`);
    block.id.forEach((id, place) => {
      const row = at + place;
      rows.id.push(id);
      rows.excerpt.push(block.excerpt[place]);
      rows.status[row] = block.status[place];
      rows.error[row] = block.error[place];
      rows.cut[row] = block.cut[place];
      rows.start[row] = block.start[place] === null ? NaN : block.start[place] / 1e3;
      rows.queued[row] = block.queued[place] / 1e4;
      rows.work[row] = block.work[place] / 1e4;
      rows.cost[row] = block.cost[place] === null ? NaN : block.cost[place];
      rows.in[row] = block.in[place];
      rows.out[row] = block.out[place];
      rows.tokens[row] = block.in[place] + block.out[place];
      rows.requests[row] = block.requests[place];
    });
    at += block.id.length;
    progress(at, total);
  }
  return rows;
}
