// The peer of the benchmark: GET /api/tokens and POST /api/ledger/spend as one would write them in
// Node.js today, with Fastify, pg and a cache in the process. The same statements on the same
// tables, the same fields in the answers.
// Environment: SOCKET (path of a Unix socket to make), DATABASE_URL, POOL (connections a worker),
// WORKERS (processes), QUERIES (folder of the statements).
//
// What it is spared: it validates less, logs nothing, counts nothing, and each worker's cache knows
// only that worker's writes.
import cluster from 'node:cluster';
import { createHash, randomUUID } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import Fastify from 'fastify';
import pg from 'pg';

const TTL_MS = 30_000; // as the backend's cache
const ENTRIES_MAX = 200_000; // as many as the backend's cache has slots
const { SOCKET, DATABASE_URL, QUERIES } = process.env;

/** A cache that forgets what is older than TTL_MS, and what came first when it is full. */
class Cache {
    #entries = new Map();

    get(key) {
        const entry = this.#entries.get(key);
        if (!entry) return undefined;
        if (entry.until > performance.now()) return entry.value;
        this.#entries.delete(key);
        return undefined;
    }

    set(key, value) {
        if (this.#entries.size >= ENTRIES_MAX) {
            this.#entries.delete(this.#entries.keys().next().value);
        }
        this.#entries.set(key, { value, until: performance.now() + TTL_MS });
    }

    delete(key) {
        this.#entries.delete(key);
    }
}

const identities = new Cache();
const balances = new Cache();
const serviceKeys = new Cache();

// Dates and times as the text that PostgreSQL sends.
pg.types.setTypeParser(pg.types.builtins.DATE, (text) => text);
pg.types.setTypeParser(pg.types.builtins.TIMESTAMP, (text) => text);

/** A statement that each connection prepares once. */
function statement(name) {
    return { name, text: readFileSync(`${QUERIES}/${name}.sql`, 'utf8') };
}

function failure(reply, status, code) {
    return reply.code(status).send({ success: false, error: code, code, message: code });
}

const member = (type) => ({ type, nullable: true });
const BALANCE_SCHEMA = {
    type: 'object',
    properties: {
        success: { type: 'boolean' },
        data: {
            type: 'object',
            properties: {
                balance: { type: 'integer' },
                lastBonusDate: member('string'),
                serverDate: { type: 'string' },
                canClaimBonus: { type: 'boolean' },
                freeGenerations: {
                    type: 'object',
                    properties: {
                        remaining: member('integer'), total: member('integer'),
                        maxQuality: { type: 'string' },
                    },
                },
                plan: { type: 'string' },
                held: { type: 'integer' },
                asOf: { type: 'string' },
            },
        },
    },
};
const SPEND_SCHEMA = {
    body: {
        type: 'object',
        required: ['userId', 'amount'],
        properties: {
            userId: {
                type: 'string',
                pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
            },
            amount: { type: 'integer', minimum: 1, maximum: 2147483647 },
            description: { type: 'string', maxLength: 500 },
        },
    },
    response: {
        201: {
            type: 'object',
            properties: {
                success: { type: 'boolean' },
                data: {
                    type: 'object',
                    properties: { transactionId: { type: 'string' }, balance: { type: 'integer' } },
                },
            },
        },
    },
};

function balanceData(row) {
    const left = row.daily_generations - row.generations_today;
    const unlimited = row.daily_generations === null;
    return {
        balance: row.balance,
        lastBonusDate: row.last_bonus_date,
        serverDate: row.server_date,
        canClaimBonus: row.last_bonus_date === null || row.last_bonus_date < row.server_date,
        freeGenerations: {
            remaining: unlimited ? null : Math.max(left, 0),
            total: row.daily_generations,
            maxQuality: row.plan_quality,
        },
        plan: row.plan,
        held: row.held,
        asOf: `${row.as_of.replace(' ', 'T').slice(0, 23)}Z`,
    };
}

function uuidBytes(text) {
    return Buffer.from(text.replaceAll('-', ''), 'hex');
}

function addBalance(app, pool) {
    const findIdentity = statement('identity_find');
    const status = statement('token_status');

    async function resolve(authorization) {
        if (!authorization?.startsWith('Device device_')) return undefined;
        const identity = `device:${authorization.slice(7)}`;
        const known = identities.get(identity);
        if (known) return known;
        const { rows } = await pool.query({ ...findIdentity, values: [identity] });
        if (rows.length > 0) identities.set(identity, rows[0].user_id);
        return rows[0]?.user_id;
    }

    const schema = { response: { 200: BALANCE_SCHEMA } };
    app.get('/api/tokens', { schema }, async (request, reply) => {
        const user = await resolve(request.headers.authorization);
        if (!user) return failure(reply, 401, 'unauthorized');
        let data = balances.get(user);
        if (!data) {
            const { rows } = await pool.query({ ...status, values: [user] });
            if (rows.length === 0) return failure(reply, 500, 'internal_error');
            data = balanceData(rows[0]);
            balances.set(user, data);
        }
        reply.header('Cache-Control', 'no-store, no-cache, must-revalidate, proxy-revalidate');
        reply.header('Pragma', 'no-cache');
        reply.header('Expires', '0');
        return { success: true, data };
    });
}

// As the backend's: the time in milliseconds, then chance.
function timeOrderedId() {
    const time = Date.now().toString(16).padStart(12, '0');
    return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}

function addSpend(app, pool) {
    const findKey = statement('service_key_find');
    // The function that one movement is, of which the backend's statements are made too.
    const post = {
        name: 'ledger_post',
        text: 'SELECT outcome, balance FROM ledger_post($1, $2, $3, $4, $5, $6)',
    };

    async function maySpend(authorization) {
        if (!authorization?.startsWith('Service ')) return false;
        const hash = createHash('sha256').update(authorization.slice(8)).digest('hex');
        const known = serviceKeys.get(hash);
        if (known) return known.has('spend');
        const { rows } = await pool.query({ ...findKey, values: [hash] });
        if (rows.length === 0) return false;
        const scopes = new Set(rows[0].scopes.split(','));
        serviceKeys.set(hash, scopes);
        return scopes.has('spend');
    }

    app.post('/api/ledger/spend', { schema: SPEND_SCHEMA }, async (request, reply) => {
        if (!(await maySpend(request.headers.authorization))) {
            return failure(reply, 401, 'unauthorized');
        }
        const { userId, amount, description = null } = request.body;
        const id = timeOrderedId();
        const { rows } = await pool.query({
            ...post, values: [userId, id, -amount, 'generation', description, null],
        });
        balances.delete(userId);
        if (rows.length === 0) return failure(reply, 404, 'user_not_found');
        const { outcome, balance } = rows[0];
        if (outcome !== 'done') return failure(reply, 402, outcome);
        const ids = Buffer.concat([Buffer.of(1), uuidBytes(userId), uuidBytes(id)]);
        reply.code(201).header('Cache-Control', 'no-store');
        return { success: true, data: { transactionId: ids.toString('base64url'), balance } };
    });
}

async function serve() {
    // Connections are kept, as the handlers keep theirs: closing them is work that another row would bear.
    const pool = new pg.Pool({ connectionString: DATABASE_URL, max: Number(process.env.POOL),
                               idleTimeoutMillis: 0 });
    const app = Fastify({ logger: false });
    addBalance(app, pool);
    addSpend(app, pool);
    await app.listen({ path: SOCKET, backlog: 1024 });
    // nginx may run as another user; the folder decides who comes near.
    chmodSync(SOCKET, 0o666);
}

const workers = Number(process.env.WORKERS);
if (workers > 1 && cluster.isPrimary) {
    for (let i = 0; i < workers; i++) cluster.fork();
    cluster.on('exit', () => process.exit(1));
    process.on('SIGTERM', () => process.exit(0));
} else {
    process.on('disconnect', () => process.exit(0));
    await serve();
}
