// Solves the page's proof of work while somebody writes, in slices short enough
// not to be felt, and sends the form once. SHA-256 is our own because pages
// without TLS have no crypto.subtle.
const form = document.querySelector('form');
const proof = form.elements.sb_proof;

const frac = (x) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
const K = primes.map((p) => frac(Math.cbrt(p)));
const H = primes.slice(0, 8).map((p) => frac(Math.sqrt(p)));
const W = new Int32Array(64);
const rotate = (x, n) => (x >>> n) | (x << (32 - n));

// first returns the first 32 bits of the SHA-256 of an ASCII text below 56 bytes.
function first(text) {
  W.fill(0, 0, 16);
  for (let i = 0; i < text.length; i++) W[i >> 2] |= text.charCodeAt(i) << (24 - (i % 4) * 8);
  W[text.length >> 2] |= 0x80 << (24 - (text.length % 4) * 8);
  W[15] = text.length * 8;
  for (let i = 16; i < 64; i++) {
    const a = W[i - 15], b = W[i - 2];
    W[i] = W[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3)) + W[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10));
  }
  let [a, b, c, d, e, f, g, h] = H;
  for (let i = 0; i < 64; i++) {
    const s = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
    const t = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + s) | 0; d = c; c = b; b = a; a = (s + t) | 0;
  }
  return (a + H[0]) >>> 0;
}

async function solve() {
  const nonce = form.elements.sb_token.value.split('.')[1];
  const below = 2 ** (32 - Number(proof.dataset.bits));
  for (let n = 0; ; n++) {
    if (first(`${nonce}.${n}`) < below) { proof.value = String(n); return; }
    if (n % 2000 === 1999) await new Promise((next) => setTimeout(next));
  }
}

const solved = proof ? solve() : Promise.resolve();
let sending = false;
form.addEventListener('submit', async (event) => {
  if (sending) { event.preventDefault(); return; }
  sending = true;
  form.querySelector('button').setAttribute('aria-disabled', 'true');
  if (!proof || proof.value) return;
  event.preventDefault();
  await solved;
  form.submit();
});
addEventListener('pageshow', () => { // also when somebody comes back
  sending = false;
  form.querySelector('button').removeAttribute('aria-disabled');
});
document.getElementById('summary')?.focus();
