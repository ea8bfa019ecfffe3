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
const media = { mediaConstraints: { audio: true, video: false } };
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
  tell('call', originator);
});

const acts = {
  answer: () => call.answer(media),
  decline: () => call.terminate({ status_code: 486 }),
  unregister: () => phone.unregister(),
  dial: (user) => phone.call(user, media),
};
phone.start();
for (;;) {
  // Waits until the test has something to be done.
  const [act, argument] = (await (await fetch('/act')).text()).split(' ');
  acts[act](argument);
}
