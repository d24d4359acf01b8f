import RemintCore

/// What came of an event, in the words of the vectors.
func outcome(_ step: Step) -> JSON {
    func listed(_ items: [JSON]) -> JSON? { items.isEmpty ? nil : .array(items) }
    return .members([
        "answer": step.answer.map(answered),
        "operations": listed(step.operations.map(operation)),
        "settled": listed(step.settled.map(JSON.string)),
        "withdraw": listed(
            step.withdraw.map {
                .members(["key": $0.key.map(JSON.string), "generation": $0.generation.map(JSON.integer)])
            }),
        "notices": listed(step.notices.map { .string(notice($0.name, $0.detail)) }),
    ])
}

/// `code`, or `code:detail`.
func notice(_ name: String, _ detail: String?) -> String {
    detail.map { "\(name):\($0)" } ?? name
}

func failed(_ failure: Failure) -> JSON {
    let family: JSON
    switch failure.family {
    case .usage: family = "usage"
    case .server: family = "server"
    case .transport: family = "transport"
    }
    return .members([
        "fail": .string(failure.code),
        "family": family,
        "message": .string(failure.text),
        "hint": failure.hint.map(JSON.string),
        "status": failure.status.map { .integer(Int64($0)) },
        "retryable": .bool(failure.retryable),
        "retry_after": failure.retryAfter.map(JSON.integer),
        "oauth_error": failure.oauthError.map(JSON.string),
        "pointer": failure.pointer.map(JSON.string),
        "lifetime": failure.lifetime.map(JSON.integer),
        "ambiguous": failure.ambiguous ? true : nil,
        "acr_values": failure.acrValues.map(JSON.string),
        "max_age": failure.maxAge.map(JSON.integer),
    ])
}

func request(_ request: HttpRequest) -> JSON {
    .members([
        "method": .string(request.method),
        "url": .string(request.url.expose()),
        "headers": pairs(request.headers),
        "body": request.body.map { .string($0.expose()) },
    ])
}

func token(_ token: TokenSet) -> JSON {
    .members([
        "access_token": .string(token.accessToken.expose()),
        "token_type": .string(token.tokenType),
        "lifetime": .integer(token.lifetime),
        "scope": token.scope.map(JSON.string),
        "refresh_token": token.refreshToken.map { .string($0.expose()) },
        "oddities": .array(token.oddities.map { .string(notice($0.name, $0.detail)) }),
    ])
}

func client(_ client: ClientInformation) -> JSON {
    .members([
        "client_id": .string(client.clientId),
        "client_secret": client.clientSecret.map { .string($0.expose()) },
        "client_id_issued_at": client.clientIdIssuedAt.map(JSON.integer),
        "client_secret_expires_at": client.clientSecretExpiresAt.map(JSON.integer),
        "registration_access_token": client.registrationAccessToken.map { .string($0.expose()) },
        "registration_client_uri": client.registrationClientUri.map(JSON.string),
        "metadata": .string(client.metadata),
    ])
}

private func pairs(_ headers: [Header]) -> JSON {
    .array(headers.map { [.string($0.name), .string($0.value.expose())] })
}

private func answered(_ answer: Answer) -> JSON {
    switch answer {
    case .use(let lease):
        return .members([
            "use": .string(lease.accessToken.expose()),
            "token_type": .string(lease.tokenType),
            "header": .string(lease.header),
            "authorization": .string(lease.authorization.expose()),
            "scope": lease.scope.map(JSON.string),
            "key": .string(lease.key),
            "generation": .integer(lease.generation),
            "expires_wall": .integer(lease.expiresWall),
            "expires": .integer(lease.expires),
            "recheck_wall": .integer(lease.recheckWall),
            "recheck": .integer(lease.recheck),
            "call": .string(lease.call),
            "lease_call": .string(lease.leaseCall),
        ])
    case .wait(let flight, let until): return .object(["wait": .string(flight), "until": .integer(until)])
    case .headers(let headers): return .object(["headers": pairs(headers)])
    case .pass: return "pass"
    case .retry: return "retry"
    case .again(let call): return .object(["again": .string(call)])
    case .giveUp: return "give_up"
    case .authorization(let url, let session):
        return .object(["done": .object(["url": .string(url), "session": .string(session.expose())])])
    case .insecureUrl(let url, let headers):
        return .object(["done": .object(["url": .string(url.expose()), "headers": pairs(headers)])])
    case .pending(let pending):
        let done = JSON.members([
            "user_code": pending.userCode.map(JSON.string),
            "verification_uri": pending.verificationUri.map(JSON.string),
            "verification_uri_complete": pending.verificationUriComplete.map(JSON.string),
            "qr_text": pending.qrText.map(JSON.string),
            "expires_in": .integer(pending.expiresIn),
            "interval": .integer(pending.interval),
            "session": .string(pending.session.expose()),
        ])
        return .object(["done": done])
    case .introspection(let active, let introspection):
        return .object(["done": .object(["active": .bool(active), "introspection": .string(introspection.expose())])])
    case .done: return .object(["done": .object([:])])
    case .fail(let failure): return failed(failure)
    }
}

private func operation(_ operation: Operation) -> JSON {
    switch operation {
    case .send(let op, let flight, let sent, let tlsID, let until, let cap):
        return .members([
            "send": .string(op), "flight": .string(flight), "request": request(sent), "tls_id": tlsID.map(JSON.string),
            "until": .integer(until), "cap": .integer(cap),
        ])
    case .sign(let op, let flight, let key, let alg, let input, let until):
        return .members([
            "sign": .string(op), "flight": .string(flight), "key": .string(key), "alg": .string(alg),
            "input": .string(input),
            "until": .integer(until),
        ])
    case .verify(let op, let flight, let key, let alg, let input, let signature, let until):
        return .members([
            "verify": .string(op), "flight": .string(flight), "key": .string(key), "alg": .string(alg),
            "input": .string(input.expose()), "signature": .string(signature), "until": .integer(until),
        ])
    case .provide(let op, let flight, let what, let until):
        let common: [String: JSON?] = ["provide": .string(op), "flight": .string(flight), "until": .integer(until)]
        return .members(common.merging(provision(what)) { common, _ in common })
    case .sleep(let flight, let until):
        return .members(["sleep": .string(flight), "until": .integer(until)])
    case .store(let op, let flight, let key, let command, let until):
        let common: [String: JSON?] = [
            "store": .string(op), "flight": .string(flight), "key": .string(key), "until": .integer(until),
        ]
        return .members(common.merging(stored(command)) { common, _ in common })
    }
}

private func provision(_ what: Provision) -> [String: JSON?] {
    switch what {
    case .clientSecret: return ["what": "client_secret"]
    case .clientAssertion: return ["what": "client_assertion"]
    case .subjectToken(let subject): return ["what": "subject_token", "subject": subject.map(JSON.string)]
    case .actorToken(let subject): return ["what": "actor_token", "subject": subject.map(JSON.string)]
    case .assertion(let subject): return ["what": "assertion", "subject": subject.map(JSON.string)]
    case .rotated(let subject, let refreshToken):
        return [
            "what": "rotated", "subject": subject.map(JSON.string), "refresh_token": .string(refreshToken.expose()),
        ]
    }
}

private func stored(_ command: StoreCommand) -> [String: JSON?] {
    switch command {
    case .load: return ["command": "load"]
    case .lock(let owner, let ttl): return ["command": "lock", "owner": .string(owner), "ttl": .integer(ttl)]
    case .save(let expect, let record, let ttl, let unlock):
        return [
            "command": "save", "expect": expect.map { .string($0.expose()) }, "record": .string(record.expose()),
            "ttl": .integer(ttl), "unlock": unlock.map(JSON.string),
        ]
    }
}
