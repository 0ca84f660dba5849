/* Turns the microphone's samples into 16-bit PCM, in pieces of about 50 ms, off the page's own thread. */
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 20));
    this.filled = 0;
  }

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.samples[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled < this.samples.length) continue;
      this.port.postMessage(this.samples.slice().buffer);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
