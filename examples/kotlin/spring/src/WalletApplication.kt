// Phoenix Wallet in Spring Boot: application.yaml says which provider, and the `Client` and its interceptor are beans.
package wallet

import dev.remint.spring.ClientCustomizer
import dev.remint.spring.RemintRequestInterceptor
import org.springframework.beans.factory.annotation.Value
import org.springframework.boot.ApplicationRunner
import org.springframework.boot.autoconfigure.SpringBootApplication
import org.springframework.boot.runApplication
import org.springframework.context.annotation.Bean
import org.springframework.web.client.RestClient
import org.springframework.web.client.body

@SpringBootApplication(proxyBeanMethods = false)
class WalletApplication {
    /** What calls the API, with the token on each request and one retry on 401. */
    @Bean
    fun wallet(@Value("\${wallet.base-url}") baseUrl: String, token: RemintRequestInterceptor): RestClient =
        RestClient.builder().baseUrl(baseUrl).requestInterceptor(token).build()

    /** What properties can't say: a function as the secret, a store, or where notices go. */
    @Bean
    fun notices() = ClientCustomizer { client -> client.onNotice { notice -> System.err.println(notice) } }

    @Bean
    fun program(wallet: RestClient) = ApplicationRunner { println(wallet.get().uri("/v1/wallets").retrieve().body<String>()) }
}

fun main(arguments: Array<String>) {
    runApplication<WalletApplication>(*arguments)
}
