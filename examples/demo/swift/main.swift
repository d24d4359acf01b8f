// The demo's Swift side: one client of one provider, told line by line what to do. `cargo xtask demo` runs it.
import Foundation
import Remint

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

struct Demo {
    private let provider: String
    private let api: URL
    private var options: Options
    private var client: Client

    init(provider: String, base: String) throws {
        self.provider = provider
        api = URL(string: "\(base)/v1/wallets")!
        options = try JSONDecoder().decode(
            Options.self, from: Data(ProcessInfo.processInfo.environment["DEMO_OPTIONS", default: ""].utf8))
        client = try options.client(of: provider)
    }

    mutating func run(_ step: String, _ words: [String]) async throws -> [String: Any] {
        switch (step, words.count) {
        // A client that holds nothing yet.
        case ("new", 0):
            client = try options.client(of: provider)
            return [:]
        // The client for one user, whose refresh token comes from a database.
        case ("subject", 2):
            client = try client.withSubject(words[0], refreshToken: words[1])
            return [:]
        case ("sign_in", 0):
            let authorization = try await client.authorizationURL()
            let callback = try await consent(at: authorization.url)
            return about(try await client.exchange(callback: callback, session: authorization.session))
        case ("token", 0):
            return about(try await client.token())
        case ("call", 0):
            let (_, answer) = try await client.data(for: URLRequest(url: api))
            return ["status": answer.statusCode]
        case ("crowd", 1):
            return ["tokens": try await crowd(of: Int(words[0]) ?? 0)]
        default:
            throw Unknown(step: step)
        }
    }

    /// How many different tokens so many callers get at once.
    private func crowd(of size: Int) async throws -> Int {
        let client = client
        return try await withThrowingTaskGroup(of: String.self) { callers in
            for _ in 0..<size { callers.addTask { try await client.token().accessToken } }
            return try await callers.reduce(into: Set()) { $0.insert($1) }.count
        }
    }
}

/// What `DEMO_OPTIONS` holds. All else in it is a variable of the provider's profile.
struct Options: Decodable {
    private var clientID: String?
    private var clientSecret: String?
    private var scope: String?
    private var configuration = Configuration()

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        for (name, value) in try container.decode([String: Value].self) {
            switch (name, value) {
            case ("client_id", .text(let id)): clientID = id
            case ("client_secret", .text(let secret)): clientSecret = secret
            case ("scope", .text(let names)): scope = names
            case ("redirect_uri", .text(let address)): configuration.redirectURI = address
            case ("api_origins", .list(let origins)): configuration.apiOrigins = origins
            case ("allow_loopback_http", .flag(let allowed)): configuration.allowLoopbackHTTP = allowed
            case (_, .text(let text)): configuration.variables[name] = text
            default: throw Unknown(step: name)
            }
        }
    }

    func client(of provider: String) throws -> Client {
        let scope = scope?.split(separator: " ").map(String.init)
        return try Client(
            provider, clientID: clientID, clientSecret: clientSecret, scope: scope, configuration: configuration)
    }

    private enum Value: Decodable {
        case text(String)
        case list([String])
        case flag(Bool)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let flag = try? container.decode(Bool.self) {
                self = .flag(flag)
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else {
                self = .list(try container.decode([String].self))
            }
        }
    }
}

struct Unknown: Error {
    let step: String
}

func about(_ token: Token) -> [String: Any] {
    ["expires_in": token.expiresIn() / .seconds(1)]
}

/// What a browser does with the URL: the address that it is sent back to.
func consent(at url: URL) async throws -> String {
    let browser = URLSession(configuration: .ephemeral, delegate: StaysHere(), delegateQueue: nil)
    defer { browser.finishTasksAndInvalidate() }
    let (_, answer) = try await browser.data(for: URLRequest(url: url))
    return (answer as? HTTPURLResponse)?.value(forHTTPHeaderField: "location") ?? ""
}

final class StaysHere: NSObject, URLSessionTaskDelegate {
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }
}

/// Obeys until there is no further line. Here, since what is at top level belongs to the main actor.
func play(_ provider: String, at base: String) async throws {
    var demo = try Demo(provider: provider, base: base)
    while let line = readLine() {
        let words = line.split(separator: " ").map(String.init)
        let step = words.first ?? ""
        var result: [String: Any] = ["provider": provider, "step": step]
        do {
            result.merge(try await demo.run(step, Array(words.dropFirst()))) { $1 }
            result["ok"] = true
        } catch {
            result["ok"] = false
            result["detail"] = "\(error)"
        }
        FileHandle.standardOutput.write(try JSONSerialization.data(withJSONObject: result) + Data("\n".utf8))
    }
}

try await play(CommandLine.arguments[1], at: CommandLine.arguments[2])
