/** What is wrong, and what to do about it, for a person who operates Redis and does not read our sources. */
export interface Diagnosis {
  readonly problem: string;
  readonly advice: string;
}

interface KnownFault extends Diagnosis {
  readonly sign: RegExp;
  /** Only where the client speaks TLS (or only where it does not). */
  readonly tls?: boolean;
}

const CLOSED = /ECONNRESET|EPIPE|Connection is closed|socket (hang up|disconnected)|is connecting/;

/** The first sign that fits counts, so the more telling ones stand first. */
const KNOWN_FAULTS: readonly KnownFault[] = [
  {
    sign: /All sentinels.*No such master/s,
    problem: 'The sentinels answer, and know no master of this name.',
    advice: 'Set REDIS_SENTINEL_NAME to a name that SENTINEL MASTERS lists.',
  },
  {
    sign: /All sentinels.*(NOAUTH|WRONGPASS)/s,
    problem: 'The sentinels ask for a password, or refuse the one that is configured.',
    advice:
      'Set REDIS_SENTINEL_PASSWORD (and REDIS_SENTINEL_USERNAME): sentinels have their own, beside REDIS_PASSWORD of the servers.',
  },
  {
    sign: /All sentinels/,
    problem: 'No sentinel could be reached, or the master that they name does not answer.',
    advice:
      'Check REDIS_NODES: it names the sentinels (port 26379), not the servers. Check that the address which SENTINEL GET-MASTER-ADDR-BY-NAME tells can be reached from here.',
  },
  {
    sign: /cluster support disabled/,
    problem: 'This server is not part of a cluster.',
    advice: 'Set REDIS_MODE=standalone and REDIS_HOST, or name nodes of the cluster in REDIS_NODES.',
  },
  {
    sign: /ECONNREFUSED/,
    problem: 'Nothing listens at this address: Redis is not running there, or listens on another port.',
    advice:
      'Start Redis, or correct REDIS_HOST and REDIS_PORT. If it runs on another machine, let its `bind` include the interface you connect to.',
  },
  {
    sign: /ENOTFOUND|EAI_AGAIN|EAI_NONAME/,
    problem: 'The host name cannot be resolved.',
    advice:
      'Check the spelling of the host. In Docker and Kubernetes, check that both run in the same network or namespace.',
  },
  {
    sign: /EHOSTUNREACH|ENETUNREACH|EHOSTDOWN/,
    problem: 'There is no route to this address.',
    advice: 'Check the address, the network of the container, and the firewall in between.',
  },
  {
    sign: /ETIMEDOUT/,
    tls: true,
    problem:
      'No TLS connection came about in time: this port speaks no TLS, or packets are dropped on the way.',
    advice:
      'If the server speaks plain Redis there (it then waits in silence), set REDIS_TLS=false, or redis:// in REDIS_URL. Else check the address and the firewall in between.',
  },
  {
    sign: /ETIMEDOUT/,
    problem: 'No connection came about in time: packets are dropped on the way.',
    advice:
      'Check the address and the firewall or security group in between. If the way is only long, raise REDIS_CONNECT_TIMEOUT_MS.',
  },
  {
    sign: /WRONG_VERSION_NUMBER|wrong version number|packet length too long|EPROTO|before secure TLS connection/i,
    problem: 'TLS is on for Athena, but no TLS server answers at this port.',
    advice: 'Set REDIS_TLS=false (or redis:// in REDIS_URL), or use the TLS port of the server.',
  },
  {
    sign: /CERT|SELF_SIGNED|self[- ]signed|unable to (verify|get)|UNABLE_TO|ALTNAME|altnames/,
    problem: 'The TLS certificate of the server is not trusted, has expired, or is for another host name.',
    advice:
      'Name the certificate authority in NODE_EXTRA_CA_CERTS, and connect by the host name that is in the certificate.',
  },
  {
    sign: /certificate required|handshake failure|alert/i,
    problem: 'The server refused the TLS handshake, for example because it asks for a client certificate.',
    advice: 'Set `tls-auth-clients no` at the server: Athena sends no client certificate.',
  },
  {
    sign: /WRONGPASS|invalid password/i,
    problem: 'Redis refuses this user name or password.',
    advice:
      'Check REDIS_USERNAME and REDIS_PASSWORD (or those in REDIS_URL, where special characters are percent-encoded). Without a user name the password is that of the user `default`.',
  },
  {
    sign: /NOAUTH/,
    problem: 'Redis asks for a password, and none is configured.',
    advice: 'Set REDIS_PASSWORD (or REDIS_PASSWORD_FILE), and REDIS_USERNAME if Redis has ACL users.',
  },
  {
    sign: /NOPERM/,
    problem: 'The Redis user may not do this: its ACL forbids the command or the key.',
    advice:
      'Allow the user `~<REDIS_KEY_PREFIX>*` and the commands Athena uses, for example: ACL SETUSER athena on >password ~athena:* &* +@all -@dangerous +info.',
  },
  {
    sign: /DENIED.*protected mode/is,
    problem:
      'Redis runs in protected mode: without a password it accepts connections from its own machine only.',
    advice: 'Give Redis a password (`requirepass`, or ACL users), and set REDIS_PASSWORD.',
  },
  {
    sign: /max number of clients/,
    problem: 'Redis has as many connections as it takes.',
    advice: 'Raise `maxclients` at the server, or find who leaves connections open (CLIENT LIST).',
  },
  {
    sign: /DB index is out of range|invalid DB index|SELECT is not allowed/i,
    problem: 'The server has no database of this number.',
    advice:
      'Set REDIS_DB (or the number that ends REDIS_URL) to 0, or raise `databases` at the server. A cluster has only database 0.',
  },
  {
    sign: /LOADING/,
    problem: 'Redis has started and is still reading its data; it serves nothing before that.',
    advice: 'Wait, and check again. INFO persistence tells how far it is (loading_eta_seconds).',
  },
  {
    sign: /READONLY/,
    problem: 'This server is a read-only replica: writes are refused.',
    advice: 'Connect to the primary (INFO replication names it), or to an address that follows it.',
  },
  {
    sign: /NOREPLICAS/,
    problem: 'Redis refuses writes because too few replicas are in touch (`min-replicas-to-write`).',
    advice: 'Bring the replicas back, or lower `min-replicas-to-write`: a cache does not need it.',
  },
  {
    sign: /MISCONF/,
    problem: 'Redis refuses writes because it could not save its data, most often because its disk is full.',
    advice:
      'Look into the log of Redis, and make room or correct the rights of its directory. `stop-writes-on-bgsave-error no` lets it go on without saving.',
  },
  {
    sign: /\bOOM\b/,
    problem: 'Redis is full, and its eviction policy lets it drop nothing: writes are refused.',
    advice:
      'Raise `maxmemory`, or set `maxmemory-policy` to allkeys-lru (or volatile-lru) so that old results make room.',
  },
  {
    sign: /MASTERDOWN/,
    problem: 'This replica has lost its primary and refuses to serve old data.',
    advice: 'Bring the primary back, or connect to the new one.',
  },
  {
    sign: /CLUSTERDOWN/,
    problem: 'The cluster does not serve: slots have no master, or too few masters see each other.',
    advice:
      'Look at CLUSTER INFO and CLUSTER NODES of several nodes; `redis-cli --cluster check <node>` tells what is missing.',
  },
  {
    sign: /^(MOVED|ASK|CROSSSLOT)\b|MOVED \d/,
    problem: 'This server is a node of a Redis Cluster.',
    advice: 'Set REDIS_MODE=cluster, and REDIS_NODES.',
  },
  {
    sign: /syntax error|unknown command/i,
    problem: 'The server does not know a command that Athena needs.',
    advice: 'Use Redis 6.2 or later, 7 for choice; `rename-command` must leave the commands as they are.',
  },
  {
    sign: /Protocol error|Unknown RESP type/,
    problem: 'What answers at this address does not speak the Redis protocol, or speaks it through TLS.',
    advice: 'Check the port. If it is a TLS port, set REDIS_TLS=true, or rediss:// in REDIS_URL.',
  },
  {
    sign: /Command timed out|did not answer within|is unresponsive/,
    problem:
      'The connection stands, but no answer comes in time: the server is stopped, blocked or overloaded.',
    advice:
      'Look whether it runs: a stopped process, a full CPU, swapping, long commands (SLOWLOG GET). If it is only slow or far, raise REDIS_COMMAND_TIMEOUT_MS.',
  },
  {
    sign: CLOSED,
    tls: true,
    problem: 'The server closed the connection during the TLS handshake, or soon after.',
    advice:
      'See the log of Redis. It may ask for a client certificate, and Athena sends none (`tls-auth-clients no`), or the port speaks no TLS (REDIS_TLS=false).',
  },
  {
    sign: CLOSED,
    problem: 'The server closed the connection: this is a TLS port, or it is not Redis.',
    advice:
      'If it is a TLS port, set REDIS_TLS=true, or rediss:// in REDIS_URL. Else check the port, and the log of Redis.',
  },
];

/** Explains the message of a Redis or network error, to a client that speaks TLS or does not. */
export function diagnose(message: string, client: { readonly tls: boolean }): Diagnosis {
  const known = KNOWN_FAULTS.find(
    ({ sign, tls }) => sign.test(message) && (tls === undefined || tls === client.tls),
  );
  if (known !== undefined) return { problem: known.problem, advice: known.advice };
  return {
    problem: 'Redis answered with an error that this check has no explanation for.',
    advice: 'See the answer, and the log of Redis.',
  };
}

const RECOMPUTED = 'Athena then computes the result again';

/** What a server's eviction policy means for Athena, in a sentence. */
export function evictionMeaning(policy: string, maxMemoryBytes: number): string {
  if (maxMemoryBytes === 0) {
    return 'without maxmemory nothing is ever dropped, and Redis grows until the machine has no memory left: set maxmemory';
  }
  if (policy === 'noeviction') {
    return 'when memory is full, writes are refused: results then stay on the instance that computed them until room is made';
  }
  if (policy.startsWith('volatile-')) {
    return `when memory is full, entries are dropped (${RECOMPUTED}); what has no expiry, such as the marks of clears and invalidated tags, is kept`;
  }
  if (policy.startsWith('allkeys-')) {
    return `when memory is full, any key may be dropped: ${RECOMPUTED}; a dropped mark of a delete or clear is restored by the instances that remember it, and is lost if none does (volatile-lru keeps the marks of clears)`;
  }
  return 'this check does not know the policy';
}
