import { describe, expect, it } from '@jest/globals';
import { diagnose, evictionMeaning } from '../../../src/cache/redis/diagnosis.js';

const plain = { tls: false };
const tls = { tls: true };

describe('the diagnosis of a Redis error', () => {
  // Messages as Redis 7, Node 24 and ioredis 6 word them.
  it.each([
    ['connect ECONNREFUSED 127.0.0.1:6379', plain, /Nothing listens/, /REDIS_PORT/],
    ['getaddrinfo ENOTFOUND redis', plain, /cannot be resolved/, /spelling/],
    ['connect ETIMEDOUT', plain, /dropped/, /firewall/],
    ['connect ETIMEDOUT', tls, /speaks no TLS/, /REDIS_TLS=false/],
    ['connect EHOSTUNREACH 10.0.0.1:6379', plain, /no route/, /firewall/],
    ['WRONGPASS invalid username-password pair or user is disabled.', plain, /refuses/, /REDIS_PASSWORD/],
    ['NOAUTH Authentication required.', plain, /asks for a password/, /REDIS_PASSWORD/],
    ["NOPERM User x has no permissions to run the 'set' command", plain, /ACL/, /ACL SETUSER/],
    ['NOPERM No permissions to access a key', plain, /ACL/, /REDIS_KEY_PREFIX/],
    ['ERR DB index is out of range', plain, /no database/, /REDIS_DB/],
    ['LOADING Redis is loading the dataset in memory', plain, /reading its data/, /Wait/],
    ["READONLY You can't write against a read only replica.", plain, /replica/, /primary/],
    ['NOREPLICAS Not enough good replicas to write.', plain, /too few replicas/, /min-replicas/],
    ['MISCONF Redis is configured to save RDB snapshots, but', plain, /could not save/, /log of Redis/],
    ["OOM command not allowed when used memory > 'maxmemory'.", plain, /full/, /maxmemory/],
    ['MOVED 5798 10.0.0.2:6379', plain, /Cluster/, /REDIS_MODE/],
    ['CLUSTERDOWN Hash slot not served', plain, /does not serve/, /CLUSTER INFO/],
    ['ERR This instance has cluster support disabled', plain, /not part of a cluster/, /standalone/],
    [
      'All sentinels are unreachable. Retrying from scratch after 50ms. Last error: ERR No such master with that name',
      plain,
      /no master of this name/,
      /REDIS_SENTINEL_NAME/,
    ],
    [
      'All sentinels are unreachable. Retrying from scratch after 50ms. Last error: connect ECONNREFUSED 127.0.0.1:1',
      plain,
      /No sentinel/,
      /26379/,
    ],
    [
      'All sentinels are unreachable. Retrying from scratch after 50ms. Last error: NOAUTH Authentication required.',
      plain,
      /ask for a password/,
      /REDIS_SENTINEL_PASSWORD/,
    ],
    ['DENIED Redis is running in protected mode because', plain, /protected mode/, /password/],
    ['ERR max number of clients reached', plain, /as many connections/, /maxclients/],
    ['Command timed out', plain, /no answer comes in time/, /REDIS_COMMAND_TIMEOUT_MS/],
    ['127.0.0.1:6379 did not answer within 250 ms', plain, /no answer comes in time/, /SLOWLOG/],
    ['self-signed certificate', tls, /not trusted/, /NODE_EXTRA_CA_CERTS/],
    ["Hostname/IP does not match certificate's altnames", tls, /another host name/, /host name/],
    [
      'C0:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number',
      tls,
      /no TLS/,
      /false/,
    ],
    ['write ECONNRESET', plain, /TLS port/, /REDIS_TLS=true/],
    ['write ECONNRESET', tls, /TLS handshake/, /client certificate/],
    ['Unknown RESP type 72 "H". Please report this.', plain, /does not speak/, /port/],
    ['ERR syntax error', plain, /does not know a command/, /6\.2/],
  ])('explains "%s" (%j)', (message, client, problem, advice) => {
    const diagnosis = diagnose(message, client);
    expect(diagnosis.problem).toMatch(problem);
    expect(diagnosis.advice).toMatch(advice);
  });

  it('does not pretend to know what it does not', () => {
    expect(diagnose('ERR something new', plain).problem).toContain('no explanation');
  });
});

describe('the meaning of an eviction policy', () => {
  it.each([
    ['allkeys-lru', 1, /any key may be dropped/],
    ['allkeys-lfu', 1, /any key may be dropped/],
    ['volatile-lru', 1, /marks of clears and invalidated tags, is kept/],
    ['noeviction', 1, /writes are refused/],
    ['noeviction', 0, /set maxmemory/],
    ['new-policy', 1, /does not know/],
  ])('is told for %s with maxmemory %i', (policy, maxMemoryBytes, meaning) => {
    expect(evictionMeaning(policy, maxMemoryBytes)).toMatch(meaning);
  });
});
