// A browser's phone for the tests: registers as the address says, tells the test what happens, and does what it is told.
//   /?socket=wss://…&uri=sip:…&password=…
import JsSIP from 'jssip';

const given = new URLSearchParams(location.search);
const phone = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(given.get('socket'))],
  uri: given.get('uri'),
  password: given.get('password'),
  register_expires: 120,
});
// As it comes from the microphone, so that a tone is one at the other end too.
const microphone = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const media = { mediaConstraints: { audio: microphone, video: false }, pcConfig: { iceServers: [] } };
let call;

// One after the other, in the order in which it happened.
let telling = Promise.resolve();
function tell(...words) {
  telling = telling.then(() => fetch('/told', { method: 'POST', body: words.join(' ') }));
}

phone.on('connected', () => tell('connected'));
phone.on('disconnected', () => tell('disconnected'));
phone.on('registered', () => tell('registered'));
phone.on('unregistered', () => tell('unregistered'));
phone.on('registrationFailed', ({ cause }) => tell('registration-failed', cause));
phone.on('newRTCSession', ({ originator, session }) => {
  call = session;
  session.on('failed', ({ originator, cause }) => tell('failed', originator, cause));
  session.on('ended', ({ originator, cause }) => tell('ended', originator, cause));
  session.on('confirmed', ({ originator }) => tell('confirmed', originator));
  session.on('hold', ({ originator }) => tell('hold', originator));
  session.on('unhold', ({ originator }) => tell('unhold', originator));
  session.on('getusermediafailed', (error) => tell('no-microphone', error));
  // Whoever is referred calls there, and the call that brought it here is over when that one stands.
  session.on('refer', ({ accept }) => {
    tell('referred');
    accept((referred) => referred.on('confirmed', () => session.terminate()), media);
  });
  if (session.connection) listenTo(session.connection);
  session.on('peerconnection', ({ peerconnection }) => listenTo(peerconnection));
  tell('call', originator);
});

// What comes is played, as it would be to a person, and looked at.
const loudspeaker = new Audio();
const context = new AudioContext();
let analyser;
function listenTo(connection) {
  connection.addEventListener('track', ({ track }) => {
    loudspeaker.srcObject = new MediaStream([track]);
    loudspeaker.play();
    analyser = new AnalyserNode(context, { fftSize: 8192 });
    context.createMediaStreamSource(loudspeaker.srcObject).connect(analyser);
  });
  connection.addEventListener('connectionstatechange', () => tell('connection', connection.connectionState));
}

// What the browser itself has counted.
async function counted() {
  const all = [...(await call.connection.getStats()).values()];
  const inbound = all.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio');
  const codec = all.find(({ id }) => id === inbound?.codecId);
  return { inbound, codec: codec?.mimeType };
}

// The frequency that is loudest, in hertz; 0 in silence.
function loudest() {
  const levels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(levels);
  const peak = levels.indexOf(Math.max(...levels));
  return levels[peak] > -60 ? Math.round((peak * context.sampleRate) / analyser.fftSize) : 0;
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// What is heard in so many seconds.
async function listen(seconds) {
  const before = await counted();
  const frequencies = [];
  for (let n = 0; n < seconds * 10; n++) {
    await wait(100);
    frequencies.push(loudest());
  }
  const { inbound, codec } = await counted();
  // Before the first packet there is nothing to count from.
  const past = (name) => inbound[name] - (before.inbound?.[name] ?? 0);
  frequencies.sort((a, b) => a - b);
  tell('heard', JSON.stringify({
    packets: past('packetsReceived'),
    lost: past('packetsLost'),
    energy: past('totalAudioEnergy'),
    hertz: frequencies[frequencies.length >> 1],
    codec,
  }));
}

const acts = {
  answer: () => call.answer(media),
  decline: () => call.terminate({ status_code: 486 }),
  hangup: () => call.terminate(),
  hold: () => call.hold(),
  unhold: () => call.unhold(),
  press: (keys) => call.sendDTMF(keys, { transportType: 'RFC2833', duration: 100, interToneGap: 100 }),
  listen: (seconds) => listen(Number(seconds)),
  unregister: () => phone.unregister(),
  dial: (user) => phone.call(user, media),
};
phone.start();
for (;;) {
  // Waits until the test has something to be done.
  const [act, argument] = (await (await fetch('/act')).text()).split(' ');
  try {
    await acts[act](argument);
  } catch (error) {
    tell('fault', act, error);
  }
}
