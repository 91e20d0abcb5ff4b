import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { listen } from '../../../src/serve/http/listen.js';
import { closing, gate, type TestAppOptions, testApp, until, user } from '../helpers.js';

async function serve(connections: number, options: TestAppOptions = {}) {
  const test = testApp(options);
  const { url, port, stop } = await listen(test.app, { host: '127.0.0.1', port: 0, connections });
  closing(stop, () => stop(0));
  const open = async (...pieces: string[]): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    closing(socket, () => socket.destroy());
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    for (const piece of pieces) socket.write(piece);
    return socket;
  };
  const health = () => fetch(`${url}/health`, { headers: { connection: 'close' }, signal: AbortSignal.timeout(3000) });
  return { ...test, url, open, health };
}

const HEAD = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n';

describe('connections', () => {
  it.each([
    ['say nothing', ''],
    ['stop within a header', 'GET /health HTTP/1.1\r\n'],
    ['stop within a body', `${HEAD}content-length: 50\r\n\r\n{"mod`],
    ['are kept alive', 'GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n'],
  ])('that %s give way to those that ask', async (_, bytes) => {
    const { open, health } = await serve(20);
    for (let i = 0; i < 50; i++) await open(bytes);
    for (let i = 0; i < 5; i++) expect((await health()).status).toBe(200);
  });

  it('that are kept alive after answers that came at once give way too', async () => {
    const { open, health } = await serve(20);
    let answered = 0;
    const sockets = await Promise.all(Array.from({ length: 20 }, () => open()));
    for (const socket of sockets) {
      socket.once('data', () => answered++);
      socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n');
    }
    await until(() => answered === 20, 'the answers');
    for (let i = 0; i < 5; i++) expect((await health()).status).toBe(200);
  });

  it('that have been silent for longest go first', async () => {
    const { open } = await serve(3);
    const gone: number[] = [];
    for (let i = 0; i < 5; i++) (await open()).on('close', () => gone.push(i));
    await until(() => gone.length === 2, 'two to go');
    expect(gone).toEqual([0, 1]);
  });

  it('that are being answered stay, whatever comes', async () => {
    const { opened, open: finish } = gate();
    const answers = [{ tokens: 'one two', beforeToken: (i: number) => (i === 1 ? opened : undefined) }];
    const { url, open, device } = await serve(3, { device: { answers } });
    const body = JSON.stringify({ model: 'edge', messages: user('hi') });
    const answer = fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    await until(() => device.requests.length === 1, 'the request');
    for (let i = 0; i < 10; i++) await open('GET /hea');
    finish();
    expect(await (await answer).json()).toMatchObject({ choices: [{ message: { content: 'one two' } }] });
  });

  it('are refused when every one is being answered', async () => {
    const { opened, open: finish } = gate();
    const answer = { tokens: 'one', beforeToken: () => opened };
    const { url, device, health } = await serve(1, { device: { answers: [answer] } });
    const init = { method: 'POST', headers: { 'content-type': 'application/json' } };
    const asked = fetch(`${url}/v1/chat/completions`, {
      ...init,
      body: JSON.stringify({ model: 'edge', messages: user('hi') }),
    });
    await until(() => device.requests.length === 1, 'the request');
    await expect(health()).rejects.toThrow();
    finish();
    expect((await asked).status).toBe(200);
    await expect
      .poll(
        () =>
          health().then(
            ({ status }) => status,
            () => 0,
          ),
        { timeout: 5000 },
      )
      .toBe(200);
  });
});
