// The hosted pages. They work without this file, but for passkeys; it makes boxes of the code field, counts down, watches for an opened
// link, and talks to the authenticator. No markup is ever made from text (the policy of the pages asks for trusted types).
(() => {
  'use strict';
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A form is sent once; a page that comes back from the browser's history is as new.
  addEventListener('submit', event => {
    const form = event.target;
    if (form.dataset.sent) return event.preventDefault();
    // An open captcha is worth a word before what was typed is lost. Whoever insists is sent on: the widget itself may be broken.
    const captcha = one('[data-captcha]', form);
    const token = captcha && one(`[name="${captcha.dataset.captcha}"]`, form);
    const open = one('[data-captcha-open]', form);
    if (token && !token.value && open.hidden) {
      open.hidden = false;
      return event.preventDefault();
    }
    form.dataset.sent = '1';
    event.submitter?.setAttribute('aria-busy', 'true');
  });
  const fresh = () => {
    for (const form of document.forms) delete form.dataset.sent;
    for (const button of all('[aria-busy]')) button.removeAttribute('aria-busy');
  };
  addEventListener('pageshow', event => {
    if (!event.persisted) return;
    fresh();
    // Its token is used up.
    for (const provider of ['grecaptcha', 'hcaptcha', 'turnstile']) {
      try { window[provider]?.reset(); } catch { /* none is drawn */ }
    }
  });

  // One box per character. The field that the server sent stays, hidden, as what the form sends.
  for (const set of all('[data-pin]')) {
    const field = one('input', set);
    const length = Number(set.dataset.length);
    const clean = text => text.replace('alphanumeric' in set.dataset ? /[^0-9a-z]/gi : /\D/g, '');
    const legend = document.createElement('legend');
    legend.className = 'label';
    legend.textContent = one('label', set).textContent;
    const row = document.createElement('div');
    row.className = 'pin';
    const boxes = Array.from({ length }, (_, at) => {
      const box = document.createElement('input');
      for (const name of ['inputmode', 'aria-invalid', 'aria-describedby']) {
        if (field.hasAttribute(name)) box.setAttribute(name, field.getAttribute(name));
      }
      Object.assign(box.dataset, { scope: 'pin-input', part: 'input' });
      Object.assign(box, { type: 'text', required: true, autocapitalize: 'none', spellcheck: false });
      box.autocomplete = at ? 'off' : 'one-time-code';
      box.setAttribute('aria-label', set.dataset.label.replace('{number}', at + 1).replace('{length}', length));
      return box;
    });
    const sent = Object.assign(document.createElement('input'), { type: 'hidden', name: field.name });
    const keep = () => { sent.value = boxes.map(box => box.value).join(''); };
    const spread = (from, text) => {
      const start = text.length >= length ? 0 : from;
      const part = [...text].slice(0, length - start);
      part.forEach((character, at) => { boxes[start + at].value = character; });
      if (!part.length) boxes[from].value = '';
      const next = Math.min(start + part.length, length - 1);
      if (part.length && document.activeElement !== boxes[next] && set.contains(document.activeElement)) boxes[next].focus();
      keep();
    };
    boxes.forEach((box, at) => {
      box.addEventListener('input', () => spread(at, clean(box.value)));
      box.addEventListener('focus', () => box.select());
      box.addEventListener('keydown', event => {
        const to = { ArrowLeft: at - 1, ArrowRight: at + 1 }[event.key] ?? (event.key === 'Backspace' && !box.value ? at - 1 : null);
        if (to === null || !boxes[to]) return;
        event.preventDefault();
        if (event.key === 'Backspace') { boxes[to].value = ''; keep(); }
        boxes[to].focus();
      });
    });
    const typed = clean(field.value);
    const focused = document.activeElement === field || document.activeElement === document.body;
    row.append(...boxes);
    one('label', set).replaceWith(legend);
    // The field is gone, not hidden: a program that has found it already, such as a browser test, looks for it again.
    field.replaceWith(row, sent);
    if (focused) boxes[0].focus();
    if (typed) spread(0, typed);
  }

  // A mail can be asked for again after a while.
  for (const button of all('[data-after]')) {
    const text = button.textContent;
    const until = Date.now() + button.dataset.after * 1000;
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      button.disabled = left > 0;
      button.textContent = left > 0 ? button.dataset.countdown.replace('{seconds}', left) : text;
      if (left > 0) setTimeout(tick, 500);
    };
    tick();
  }

  // The page is loaded again once its link was opened, and the server says where to.
  for (const place of all('[data-poll]')) {
    let every = 2000;
    const ask = async () => {
      try {
        if (!document.hidden) {
          const answer = await fetch(place.dataset.poll, { headers: { accept: 'application/json' } });
          if (answer.ok && (await answer.json()).waiting === false) return location.replace(location.href.split('#')[0]);
          every = Math.min(every * 1.02, 10000);
        }
      } catch { every = 10000; }
      setTimeout(ask, every);
    };
    setTimeout(ask, every);
  }

  // WebAuthn. Options come as JSON with base64url, RPCs take bytes as base64.
  const bytes = text => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), c => c.charCodeAt(0));
  const base64 = buffer => btoa(Array.from(new Uint8Array(buffer), byte => String.fromCharCode(byte)).join(''));
  const call = async (url, body) => {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
    });
    if (answer.ok) return answer.json();
    const refusal = await answer.json().catch(() => null);
    throw Object.assign(new Error(`${url}: ${answer.status}`), { code: refusal?.details?.[0]?.error_code });
  };
  // What the server knows of passkeys, the authenticator may as well: a list that shows the deleted ones misleads. Older browsers have
  // none of these methods, and no answer is waited for.
  const signal = (name, value) => {
    try { window.PublicKeyCredential?.[name]?.(value)?.catch(() => {}); } catch { /* nothing depends on it */ }
  };
  const base64url = buffer => base64(buffer).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  const options = given => {
    const key = { ...(given.publicKey ?? given) };
    key.challenge = bytes(key.challenge);
    if (key.user) key.user = { ...key.user, id: bytes(key.user.id) };
    for (const list of ['allowCredentials', 'excludeCredentials']) {
      if (key[list]) key[list] = key[list].map(known => ({ ...known, id: bytes(known.id) }));
    }
    return key;
  };
  const able = 'PublicKeyCredential' in window && 'credentials' in navigator;

  const form = one('#passkey');
  if (form && able) {
    const button = one('[data-passkey]');
    const problem = one('#passkey-problem');
    let waiting;
    const login = async conditional => {
      waiting?.abort();
      waiting = new AbortController();
      const stop = waiting.signal;
      const begun = await call(form.dataset.begin, {});
      const publicKey = options(begun.options);
      if (stop.aborted) return;
      let again;
      // The challenge of a page that stays open is renewed before it ends.
      if (conditional) again = setTimeout(() => offer(), (publicKey.timeout ?? 300000) * 0.8);
      try {
        const found = await navigator.credentials.get({ publicKey, signal: stop, mediation: conditional ? 'conditional' : 'optional' });
        const { response } = found;
        const done = await call(form.dataset.finish, {
          session_id: begun.session_id,
          credential_id: base64(found.rawId),
          type: found.type,
          authenticator_attachment: found.authenticatorAttachment ?? '',
          client_extension_results: found.getClientExtensionResults(),
          response: {
            authenticator_data: base64(response.authenticatorData),
            client_data_json: base64(response.clientDataJSON),
            signature: base64(response.signature),
            user_handle: base64(response.userHandle ?? new ArrayBuffer(0)),
          },
        }).catch(error => {
          if (error.code === 'PASSKEY_UNKNOWN') {
            signal('signalUnknownCredential', { rpId: publicKey.rpId, credentialId: base64url(found.rawId) });
          }
          throw Object.assign(error, { message: 'refused' });
        });
        if (!done.success || !done.session_token) throw new Error('refused');
        one('[name=session_token]', form).value = done.session_token;
        form.submit();
      } finally {
        clearTimeout(again);
      }
    };
    const failed = error => {
      if (error.name === 'AbortError') return;
      if (problem) problem.hidden = false;
      fresh();
    };
    const offer = async () => {
      if (!('conditional' in form.dataset) || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
      // What nobody asked for must not complain.
      login(true).catch(error => { if (error.message === 'refused') failed(error); });
    };
    if (button) {
      button.hidden = false;
      for (const or of all('[data-with-passkey]')) or.hidden = false;
      button.addEventListener('click', () => {
        if (problem) problem.hidden = true;
        button.setAttribute('aria-busy', 'true');
        login(false).catch(error => { failed(error); offer(); });
      });
    }
    offer();
  }

  const kept = one('#passkeys');
  if (kept && able) {
    fetch(kept.dataset.list, { headers: { accept: 'application/json' } }).then(async answer => {
      const options = answer.ok && (await answer.json()).all_accepted_credentials_options;
      if (!options) return;
      signal('signalAllAcceptedCredentials', {
        rpId: options.rp_id,
        userId: options.user_id,
        allAcceptedCredentialIds: options.all_accepted_credential_ids ?? [],
      });
    }).catch(() => {});
  }

  const place = one('#new-passkey');
  if (place) {
    const say = which => { for (const text of all('[data-problem]')) text.hidden = text.dataset.problem !== which; };
    const next = one('#next');
    for (const button of all('[data-new-passkey]')) {
      if (!able) { say('unsupported'); break; }
      button.hidden = false;
      if (button.autofocus) button.focus();
      button.addEventListener('click', async () => {
        say('');
        button.setAttribute('aria-busy', 'true');
        try {
          const begun = await call(place.dataset.begin, {});
          const made = await navigator.credentials.create({ publicKey: options(begun.options) });
          const done = await call(place.dataset.finish, {
            credential_id: base64(made.rawId),
            attestation_object: base64(made.response.attestationObject),
            client_data_json: base64(made.response.clientDataJSON),
            type: made.type,
            transports: made.response.getTransports?.() ?? [],
            authenticator_attachment: made.authenticatorAttachment ?? '',
            client_extension_results: made.getClientExtensionResults(),
          });
          if (!done.success) throw new Error('refused');
          if (next) next.submit(); else location.reload();
        } catch (error) {
          say(error.name === 'InvalidStateError' ? 'exists' : 'failed');
          fresh();
        }
      });
    }
  }
})();
