import Foundation
import Native
import Remint

/// Registers a client, or looks after one: as it is registered now, and null once it is deleted.
func register(_ words: Words) async throws -> Any {
    var options = Words(try words.required("options"))
    var configuration = Configuration()
    configuration.allowLoopbackHTTP = options.take("allow_loopback_http") ?? false
    if let authority: String = options.take("ca") {
        configuration.transport = certified(certificate: nil, key: nil, authority: authority)
    }
    configuration.variables = options.values.compactMapValues { $0 as? String }
    let profile = try JSONSerialization.data(withJSONObject: words.required("profile") as [String: Any])
    let registrar = try Registrar(String(decoding: profile, as: UTF8.self), configuration: configuration)
    let request = try registrationRequest(words.required("request"))
    guard let client = try await registrar.register(request) else { return NSNull() }
    return [
        "client_id": client.clientID, "client_secret": client.clientSecret as Any? ?? NSNull(),
        "registration_access_token": client.registrationAccessToken as Any? ?? NSNull(),
        "registration_client_uri": client.registrationClientURI as Any? ?? NSNull(), "metadata": client.metadata,
        "shown": "\(printed(client)) \(printed(registrar)) \(printed(request))",
    ]
}

private func registrationRequest(_ request: [String: [String: Any]]) throws -> RegistrationRequest {
    guard let (word, members) = request.first.map({ ($0.key, Words($0.value)) }) else {
        throw Malformed(what: "`request`")
    }
    func uri() throws -> String { try members.required("registration_client_uri") }
    func token() throws -> String { try members.required("registration_access_token") }
    switch word {
    case "register":
        return .register(
            metadata: try members.required("metadata"), initialAccessToken: members.optional("initial_access_token"),
            softwareStatement: members.optional("software_statement"))
    case "read": return .read(registrationClientURI: try uri(), registrationAccessToken: try token())
    case "update":
        return .update(
            registrationClientURI: try uri(), registrationAccessToken: try token(),
            metadata: try members.required("metadata"), clientID: members.optional("client_id"),
            clientSecret: members.optional("client_secret"))
    case "delete": return .delete(registrationClientURI: try uri(), registrationAccessToken: try token())
    default: throw Malformed(what: "registration request `\(word)`")
    }
}
