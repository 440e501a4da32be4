// A stand-in for a captcha's provider: no provider can be asked where these tests run. It speaks what reCAPTCHA v2 documents of its script, of
// its widget and of `siteverify`, and loads as that one does: a small loader, the script proper, and a frame of the provider's with the box to
// tick. It tells nobody from a program; it gives a token to whoever ticks the box.
const { createServer } = require('node:http');
const { once } = require('node:events');

const SITE_KEY = 'site-key-of-the-stand-in';
const SECRET = 'secret-of-the-stand-in';
const FRAME = 'Stand-in for a captcha';

// The URL is plain text, as that of reCAPTCHA's loader is: a policy that asks for trusted types would refuse it.
const loader = origin => `(() => {
  const script = document.createElement('script');
  script.src = '${origin}/recaptcha/releases/1/main.js';
  script.async = true;
  document.head.append(script);
})();`;

const main = origin => `(() => {
  const widgets = [];
  const at = id => {
    const widget = widgets[id ?? 0];
    if (!widget) throw new Error('No reCAPTCHA clients exist.');
    return widget;
  };
  window.grecaptcha = {
    ready: then => then(),
    render: (place, options = {}) => {
      const given = { ...place.dataset, ...options };
      if (given.sitekey !== '${SITE_KEY}') throw new Error('Invalid site key');
      if (place.firstChild) throw new Error('reCAPTCHA has already been rendered in this element');
      const id = widgets.length;
      place.innerHTML = '<div><iframe title="${FRAME}" width="304" height="78" frameborder="0" scrolling="no"></iframe></div>'
        + '<textarea id="g-recaptcha-response' + (id ? '-' + id : '') + '" name="g-recaptcha-response" class="g-recaptcha-response"></textarea>';
      const widget = { frame: place.querySelector('iframe'), field: place.querySelector('textarea'), given };
      widget.frame.src = '${origin}/recaptcha/api2/anchor?host=' + encodeURIComponent(location.hostname);
      place.firstChild.style.width = '304px';
      widgets.push(widget);
      return id;
    },
    getResponse: id => at(id).field.value,
    reset: id => {
      const { frame, field } = at(id);
      field.value = '';
      frame.src = frame.src;
    },
  };
  addEventListener('message', event => {
    const widget = event.origin === '${origin}' && widgets.find(({ frame }) => frame.contentWindow === event.source);
    if (!widget) return;
    widget.field.value = event.data;
    window[widget.given.callback]?.(event.data);
  });
  const draw = () => { for (const place of document.querySelectorAll('.g-recaptcha')) if (!place.firstChild) window.grecaptcha.render(place); };
  if (document.readyState === 'loading') addEventListener('DOMContentLoaded', draw); else draw();
})();`;

const ANCHOR = `<!doctype html><html lang="en"><title>${FRAME}</title><style>
body{margin:0;font:14px sans-serif;color:#222}main{box-sizing:border-box;width:302px;height:76px;margin:1px;padding:0 12px;display:flex;align-items:center;gap:12px;background:#f9f9f9;border:1px solid #757575;border-radius:3px}
button{width:28px;height:28px;border:2px solid #757575;border-radius:2px;background:#fff;font:700 20px/1 sans-serif;color:#0a7d32}small{display:block;color:#555}
</style><main><button type="button" role="checkbox" aria-labelledby="text"></button><span id="text">I am not a robot<small>Stand-in: not a real captcha</small></span></main><script>
const box = document.querySelector('button');
box.addEventListener('click', async () => {
  if (box.getAttribute('aria-checked') === 'true') return;
  const answer = await fetch('/recaptcha/api2/userverify' + location.search, { method: 'POST' });
  parent.postMessage(await answer.text(), '*');
  box.setAttribute('aria-checked', 'true');
  box.textContent = '\\u2713';
});
// Said last: whoever waits for the box finds one that listens.
box.setAttribute('aria-checked', 'false');
</script></html>`;

class Provider {
  tokens = new Map();
  given = 0;
  /** The forms that it was asked about. */
  asked = [];
  /** Whether it answers at all. */
  down = false;

  static async start() {
    const provider = new Provider();
    provider.server = createServer((asked, answer) => provider.answer(asked, answer)).listen(0, '127.0.0.1');
    await once(provider.server, 'listening');
    provider.origin = `http://127.0.0.1:${provider.server.address().port}`;
    return provider;
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** What a server is told so that it uses this one. */
  settings() {
    return {
      NARTHEX_CAPTCHA__PROVIDER: 'recaptcha', NARTHEX_CAPTCHA__SITE_KEY: SITE_KEY, NARTHEX_CAPTCHA__SECRET: SECRET,
      NARTHEX_CAPTCHA__SCRIPT_URL: `${this.origin}/recaptcha/api.js`, NARTHEX_CAPTCHA__VERIFY_URL: `${this.origin}/recaptcha/api/siteverify`,
    };
  }

  async answer(asked, answer) {
    let body = '';
    for await (const part of asked) body += part;
    const say = (status, type, text) => answer.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text);
    const { pathname, searchParams } = new URL(asked.url, this.origin);
    if (this.down) return say(503, 'text/plain', 'down');
    switch (`${asked.method} ${pathname}`) {
      case 'GET /recaptcha/api.js': return say(200, 'text/javascript', loader(this.origin));
      case 'GET /recaptcha/releases/1/main.js': return say(200, 'text/javascript', main(this.origin));
      case 'GET /recaptcha/api2/anchor': return say(200, 'text/html; charset=utf-8', ANCHOR);
      case 'POST /recaptcha/api2/userverify': {
        const token = `token-${++this.given}`;
        this.tokens.set(token, searchParams.get('host'));
        return say(200, 'text/plain', token);
      }
      case 'POST /recaptcha/api/siteverify': return say(200, 'application/json', JSON.stringify(this.verify(Object.fromEntries(new URLSearchParams(body)))));
      default: return say(404, 'text/plain', 'not here');
    }
  }

  verify(form) {
    this.asked.push(form);
    const refuse = code => ({ success: false, 'error-codes': [code] });
    if (form.secret !== SECRET) return refuse('invalid-input-secret');
    if (!form.response) return refuse('missing-input-response');
    if (!/^token-\d+$/.test(form.response)) return refuse('invalid-input-response');
    const hostname = this.tokens.get(form.response);
    // A token is good once.
    if (!this.tokens.delete(form.response)) return refuse('timeout-or-duplicate');
    return { success: true, challenge_ts: new Date().toISOString(), hostname };
  }
}

module.exports = { FRAME, Provider };
