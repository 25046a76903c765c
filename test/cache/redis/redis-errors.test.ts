import { describe, expect, it } from '@jest/globals';
import { describeError, reactionTo, unavailable } from '../../../src/cache/redis/redis-errors.js';

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' });

describe('an error reply of Redis', () => {
  it.each([
    ['MOVED 3999 127.0.0.1:6381', 'elsewhere', 'map'],
    ['ASK 3999 127.0.0.1:6381', 'elsewhere', 'map'],
    ['TRYAGAIN Multiple keys request during rehashing of slot', 'again', 'keep'],
    ['LOADING Redis is loading the dataset in memory', 'unavailable', 'probe'],
    ['BUSY Redis is busy running a script.', 'unavailable', 'probe'],
    ['MASTERDOWN Link with MASTER is down', 'unavailable', 'probe'],
    ['CLUSTERDOWN Hash slot not served', 'unavailable', 'keep'],
    ['CLUSTERDOWN The cluster is down', 'unavailable', 'map'],
    ['NOAUTH Authentication required.', 'unavailable', 'renew'],
    ['WRONGPASS invalid username-password pair', 'unavailable', 'renew'],
    ["READONLY You can't write against a read only replica.", 'refused', 'renew'],
    ["ERR Error running script: READONLY You can't write against a read only replica.", 'refused', 'renew'],
    ["OOM command not allowed when used memory > 'maxmemory'.", 'refused', 'keep'],
    ['MISCONF Redis is configured to save RDB snapshots', 'refused', 'keep'],
    ['NOREPLICAS Not enough good replicas to write.', 'refused', 'keep'],
    ['NOPERM this user has no permissions', 'refused', 'keep'],
  ] as const)('%s: the call is %s, the connection: %s', (message, call, connection) => {
    expect(reactionTo(reply(message))).toEqual({ call, connection });
  });

  it('that is not known concerns nothing but its command; without a reply Redis is away', () => {
    expect(reactionTo(reply('ERR syntax error'))).toBeUndefined();
    expect(reactionTo(reply('WRONGTYPE Operation against a key holding MOVED 1 x'))).toBeUndefined();
    expect(reactionTo(new Error('Command timed out'))).toEqual({ call: 'unavailable', connection: 'keep' });
  });

  it('travels without the arguments of its command', () => {
    const error = Object.assign(reply("ERR unknown command 'AUTH2', with args beginning with: 'secret'"), {
      command: { name: 'AUTH2', args: ['secret'] },
    });
    expect(describeError(error)).toBe("ERR unknown command 'AUTH2'");
    expect(JSON.stringify([unavailable(error), (unavailable(error).cause as Error).message])).not.toContain(
      'secret',
    );
  });
});
