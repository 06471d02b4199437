// Who may pass the gateway: the twin, in njs, of cxr.contract.signing and cxr.pacs.verifier. One
// table of requests in the tests holds all three to the same verdicts; change them together.
// Written for njs 0.7.9, the oldest in use. `pacs_keys`, {kid: hex}, is preloaded by nginx.
import crypto from 'crypto';

var LEEWAY_S = 30;
var MAX_CHARS = 8192;
var LAST_S = 9007199254740992;

var HEX = '[0-9a-f]{8}';
var UID = '[0-9]+(?:\\.[0-9]+)*';
// what a token may open at all, on the raw path: no % ever matches
var SHAPES = new RegExp(
    '^(?:/instances/' + HEX + '(?:-' + HEX + '){4}'
    + '/(?:file|preview|rendered|simplified-tags|frames/[0-9]+/(?:raw|preview|rendered))'
    + '|/dicom-web/studies/' + UID + '(?:/metadata|/series/' + UID + '(?:/metadata|/instances/' + UID
    + '(?:/metadata|/rendered|/frames/[0-9]+(?:/rendered)?)?)?)?'
    + '|/wado)$');
var PARAMETERS = [
    'requestType', 'studyUID', 'seriesUID', 'objectUID', 'contentType', 'transferSyntax',
    'frameNumber', 'rows', 'columns', 'windowCenter', 'windowWidth', 'viewport', 'window',
    'quality', 'width', 'height'];
var VALUE = /^[A-Za-z0-9.,\/+*_;=-]{0,256}$/;

function same(a, b) {  // takes as long wherever the difference is
    if (a.length !== b.length) {
        return false;
    }
    var difference = 0;
    for (var i = 0; i < a.length; i++) {
        difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
    }
    return difference === 0;
}

function decoded(part) {
    var raw = Buffer.from(part, 'base64url');
    // characters and bits that decoding ignores would give one token many spellings
    if (raw.toString('base64url') !== part) {
        throw new Error('not base64url');
    }
    return JSON.parse(raw.toString());
}

function isTime(value) {
    return typeof value === 'number' && Math.abs(value) <= LAST_S;
}

function ofImages(scope) {
    return Array.isArray(scope) && scope.every(function (item) {
        return typeof item === 'string' && item.slice(0, 2) === 'i:';
    });
}

function verified(token, now) {
    if (token.length > MAX_CHARS || !/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token)) {
        return null;
    }
    var parts = token.split('.');
    try {
        var header = decoded(parts[0]);
        if (header.alg !== 'HS256' || typeof header.kid !== 'string'
            || !Object.prototype.hasOwnProperty.call(pacs_keys, header.kid)) {
            return null;
        }
        var secret = Buffer.from(pacs_keys[header.kid], 'hex');
        var mac = crypto.createHmac('sha256', secret).update(parts[0] + '.' + parts[1]).digest('base64url');
        if (!same(mac, parts[2])) {
            return null;
        }
        var claims = decoded(parts[1]);
        if (header.kid.slice(0, 4) === 'job-' && !ofImages(claims.scope)) {
            return null;  // a labeling job's key opens images and no more
        }
    } catch (e) {
        return null;
    }
    if (claims === null || typeof claims !== 'object' || claims.aud !== 'pacs') {
        return null;
    }
    var begins = claims.nbf === undefined ? 0 : claims.nbf;
    if (!isTime(begins) || !isTime(claims.exp) || now >= claims.exp || now < begins - LEEWAY_S) {
        return null;
    }
    return claims;
}

function unescaped(text) {  // as a form is read; bytes beyond ASCII stay bytes, which nothing takes
    return text.replace(/\+/g, ' ').replace(/%([0-9A-Fa-f]{2})/g, function (_, hex) {
        return String.fromCharCode(parseInt(hex, 16));
    });
}

function pairsOf(query) {
    return query.split('&').filter(function (piece) { return piece !== ''; }).map(function (piece) {
        var at = piece.indexOf('=');
        return at < 0 ? [unescaped(piece), '']
            : [unescaped(piece.slice(0, at)), unescaped(piece.slice(at + 1))];
    });
}

function valuesOf(pairs, name) {
    return pairs.filter(function (pair) { return pair[0] === name; })
        .map(function (pair) { return pair[1]; });
}

function oneToken(r, pairs) {
    var found = valuesOf(pairs, 'token');
    for (var i = 0; i < r.rawHeadersIn.length; i++) {
        if (r.rawHeadersIn[i][0].toLowerCase() === 'authorization') {
            var value = r.rawHeadersIn[i][1];
            if (value.slice(0, 7).toLowerCase() !== 'bearer ') {
                return '';
            }
            found.push(value.slice(7).trim());
        }
    }
    return found.length === 1 ? found[0] : '';
}

function opens(claims, need) {
    return Array.isArray(claims.scope) && claims.scope.some(function (item) {
        return item === need
            || (typeof item === 'string' && item.slice(0, 2) === 'p:'
                && need.slice(0, item.length + 1) === item + '/');
    });
}

function needsOf(path, pairs) {
    var needs = ['p:' + path], parts = path.split('/');
    if (parts.length >= 4 && parts[1] === 'instances') {
        needs.push('i:' + parts[2]);
    }
    if (path === '/wado') {
        var uids = valuesOf(pairs, 'objectUID');
        if (uids.length === 1) {
            needs.push('w:' + uids[0]);
        }
    }
    return needs;
}

function passed(pairs) {  // what Orthanc gets to see of a query; null: something it must not get
    var kept = [];
    for (var i = 0; i < PARAMETERS.length; i++) {
        var values = valuesOf(pairs, PARAMETERS[i]);
        if (values.length > 1 || (values.length === 1 && !VALUE.test(values[0]))) {
            return null;
        }
        if (values.length === 1) {
            kept.push(PARAMETERS[i] + '=' + values[0]);
        }
    }
    return kept.length ? '?' + kept.join('&') : '';
}

function judge(r) {
    var target = r.variables.request_uri, at = target.indexOf('?');
    var path = at < 0 ? target : target.slice(0, at);
    var pairs = pairsOf(at < 0 ? '' : target.slice(at + 1));
    var claims = verified(oneToken(r, pairs), Date.now() / 1000);
    if (claims === null) {
        r.return(401);
        return;
    }
    var query = passed(pairs);
    var opened = needsOf(path, pairs).some(function (need) { return opens(claims, need); });
    if (!SHAPES.test(path) || !opened || query === null) {
        r.return(403);
        return;
    }
    if (typeof claims.sub === 'string') {
        r.variables.pacs_subject = claims.sub.replace(/[^A-Za-z0-9@._-]/g, '').slice(0, 64);
    }
    r.variables.pacs_uri = path + query;
    r.internalRedirect('@pacs');
}

export default {judge};
