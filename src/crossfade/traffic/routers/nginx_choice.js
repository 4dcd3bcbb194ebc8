// What nginx does with each request: read the line, choose a slot and an instance, count.
//
// The line is that of the route file, kept in the memory that all workers share. One that names hosts is
// followed by a second one with their addresses, because nginx dials addresses. `SET_UP` stands above, and so
// does `FIRST`: the line that was in force when nginx was started.

const SLOTS = ['blue', 'green'];
const TRIES = 9;         // nginx follows ten redirects inside itself, and each further try is one
const PAUSE = 110;       // ms; nine of them are the second in which an instance may come back
const LONG_ENOUGH = 5;   // seconds of a visitor's patience, where nobody even refuses
const LONGEST = 64;      // as in buckets.py, like all of `bucket`
const NOTHING = ['', 't=0', 'k=0', 's=blue', 'blue=0:', 'green=0:'];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

// Called for every request before it is passed on; answers by itself what no instance should see.
function choose(r) {
    const value = current();
    const parts = partsOf(value);
    const slot = slotOf(r, parts);
    if (r.headersIn[SET_UP.probe_header] === SET_UP.token) {
        r.variables.crossfade_arm = 'probe';
        r.variables.crossfade_cookie = '';
        r.headersOut[SET_UP.slot_header] = slot;
        r.return(200, value || 'nothing');
        return;
    }
    const instances = instancesOf(parts, slot);
    if (value !== '') {  // whoever comes where nothing is in force is no version's visitor
        r.variables.crossfade_arm = slot;
        ngx.shared.crossfade_flying.incr(process.pid + slot, 1, 0);
    }
    if (instances.length === 0) {
        r.variables.crossfade_cookie = '';
        r.headersOut['X-Crossfade'] = 'no-version';
        r.headersOut['Retry-After'] = '1';
        r.headersOut['Cache-Control'] = 'no-store';
        r.return(503, 'No version of this service is running.\n');
        return;
    }
    const turn = instances.length === 1 ? 0 : ngx.shared.crossfade_turns.incr(slot, 1, 0) % instances.length;
    r.variables.crossfade_to = standing(instances, turn);
    if (parts.length > 9 && slot === parts[3].slice(2) && isCopied(r, parts[9])) {
        r.internalRedirect('@copied');
    }
}

// Whether the canary gets a copy of this request: a share of them by chance, and never a websocket.
function isCopied(r, mirror) {
    return parseInt(r.variables.request_id.slice(8, 16), 16) < Number(mirror.slice(7)) * 4294967296 / 10000
        && r.headersIn.Upgrade === undefined;
}

// Called for a copy, at our own door: passes it on to the canary under the path that the visitor asked for.
function copy(r) {
    const parts = partsOf(current());
    const canary = parts[3] === 's=blue' ? 'green' : 'blue';
    const instances = instancesOf(parts, canary);
    if (instances.length === 0) {
        r.return(204);
        return;
    }
    r.variables.crossfade_arm = canary;
    ngx.shared.crossfade_flying.incr(process.pid + canary, 1, 0);
    r.variables.crossfade_path = r.variables.request_uri.slice(SET_UP.copies.length);
    r.variables.crossfade_to = standing(instances, ngx.shared.crossfade_turns.incr(canary, 1, 0) % instances.length);
}

// The answer to a copy is read to its end and goes nowhere, so that no instance finds its visitor gone.
function unsized(r) {
    delete r.headersOut['Content-Length'];
}

function swallowed(r, data, flags) {
    r.sendBuffer('', flags);
}

// Called when nginx has no answer from the instance: where no connection was made, nothing was sent, so the
// request may go elsewhere. Any other failure is the version's own, and is told.
async function again(r) {
    const connected = r.variables.upstream_connect_time.split(/[,:] /).pop().trim();
    const tries = Number(r.variables.crossfade_tries || 0) + 1;
    if (connected !== '-' || tries > TRIES || Number(r.variables.request_time) > LONG_ENOUGH) {
        r.return(502, 'This version of the service did not answer.\n');
        return;
    }
    r.variables.crossfade_tries = tries;
    const failed = r.variables.crossfade_to;
    ngx.shared.crossfade_down.set(failed, '1');
    let instances = currentInstances(r);
    if (tries % Math.max(instances.length, 1) === 0) {
        await new Promise((resume) => setTimeout(resume, PAUSE * Math.max(instances.length, 1)));
        instances = currentInstances(r);
    }
    if (instances.length === 0) {
        r.return(502, 'This version of the service did not answer.\n');
        return;
    }
    r.variables.crossfade_to = standing(instances, instances.indexOf(failed) + 1);
}

function currentInstances(r) {
    return instancesOf(partsOf(current()), r.variables.crossfade_arm);
}

// Called when a request has ended, however it did: its slot, for the line that the counter reads.
function ended(r) {
    const arm = r.variables.crossfade_arm;
    if (arm === 'blue' || arm === 'green') {
        ngx.shared.crossfade_flying.incr(process.pid + arm, -1, 0);
    }
    return arm;
}

function current() {
    const value = ngx.shared.crossfade_routes.get('line');
    return value === undefined ? FIRST : value;
}

// `400000 t=… k=… s=blue blue=1:10.0.0.1:80,,,; green=…; …` in parts, with addresses instead of names.
function partsOf(value) {
    return value === '' ? NOTHING : value.slice(value.indexOf('\n') + 1).split(' ');
}

// The slot that serves this request.
function slotOf(r, parts) {
    const stable = parts[3].slice(2);
    const canary = stable === 'blue' ? 'green' : 'blue';
    const wish = r.headersIn[SET_UP.override_header];
    const asked = identified(r);
    if (wish === 'never') {
        return stable;
    }
    if (wish === 'always') {
        return count(parts[4 + SLOTS.indexOf(canary)]) === 0 ? stable : canary;
    }
    const share = Number(parts[1].slice(2));
    if (share === 0 || share === 4294967296) {
        return share === 0 ? 'blue' : 'green';
    }
    const place = asked === '' ? parseInt(r.variables.request_id.slice(0, 8), 16) : bucket(asked, Number(parts[2].slice(2)));
    return place < share ? 'green' : 'blue';
}

// The id of who is asking; empty for nobody in particular. A visitor without a bucket cookie is given one.
function identified(r) {
    if (SET_UP.sticky === null) {
        return '';
    }
    const kind = SET_UP.sticky[0], name = SET_UP.sticky[1];
    if (kind === 'header') {
        return r.headersIn[name] || '';
    }
    const found = cookie(r.headersIn.Cookie, name);
    if (kind === 'user_cookie' || UUID.test(found)) {
        return found;
    }
    const id = r.variables.request_id;
    const given = [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)].join('-');
    r.variables.crossfade_cookie = `${name}=${given}; Path=/; Max-Age=${SET_UP.cookie_age}; HttpOnly; SameSite=Lax`;
    return given;
}

function cookie(header, name) {
    const start = name + '=';
    const pair = (header || '').split(';').map((each) => each.trim()).find((each) => each.startsWith(start));
    const found = pair === undefined ? '' : pair.slice(start.length);
    return found.length > 1 && found[0] === '"' && found.endsWith('"') ? found.slice(1, -1) : found;
}

// The number of buckets.py: FNV-1a from a salted basis, mixed by fmix32.
function bucket(user, basis) {
    const characters = Array.from(user);
    if (characters.length > LONGEST) {
        characters.splice(LONGEST / 2, characters.length - LONGEST);
    }
    let h = basis;
    for (let place = 0; place < characters.length; place++) {
        const code = characters[place].codePointAt(0);
        h = Math.imul(h ^ (code >= 32 && code <= 126 ? code : 1), 16777619);
    }
    h = Math.imul(h ^ (h >>> 16), 2246822507);
    h = Math.imul(h ^ (h >>> 13), 3266489909);
    return (h ^ (h >>> 16)) >>> 0;
}

function count(entries) {
    return parseInt(entries.slice(entries.indexOf('=') + 1));
}

function instancesOf(parts, slot) {
    const entries = parts[4 + SLOTS.indexOf(slot)];
    return entries.slice(entries.indexOf(':') + 1).split(',', count(entries));
}

// The instance whose turn it is; the next one, where nobody could be reached within the last second.
function standing(instances, turn) {
    for (let step = 0; step < instances.length; step++) {
        const candidate = instances[(turn + step) % instances.length];
        if (!ngx.shared.crossfade_down.has(candidate)) {
            return candidate;
        }
    }
    return instances[turn % instances.length];
}

// Our own door, on loopback and by token: GET tells what is in force, PUT puts a line in force, DELETE forgets it.
function control(r) {
    const routes = ngx.shared.crossfade_routes;
    if (r.headersIn['X-Crossfade-Token'] !== SET_UP.token) {
        r.return(403, 'no');
        return;
    }
    const value = current();
    if (r.method === 'PUT') {
        const wanted = r.requestText;
        if (fence(value) > fence(wanted)) {
            r.return(409, value);
            return;
        }
        routes.set('line', wanted);
        ngx.shared.crossfade_down.clear();
    } else if (r.method === 'DELETE') {
        routes.set('line', '');
    }
    r.return(200, JSON.stringify({
        set_up: r.variables.crossfade_set_up,
        worker: process.pid,
        line: current(),
        flying: ngx.shared.crossfade_flying.items(),
    }));
}

function fence(value) {
    const found = /fence=(\d+)/.exec(value);
    return found ? Number(found[1]) : -1;
}

export default {choose, again, copy, unsized, swallowed, ended, control};
