import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.MessageDigest;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Signs and sends with the JDK alone, 15 or newer.
 *
 * <p>java SignedOrder.java KEY.pem PUBLISHABLE_KEY URL JSON
 */
public class SignedOrder {
    private static final HttpClient CLIENT = HttpClient.newHttpClient(); // which follows no redirects
    private static final SecureRandom RANDOM = new SecureRandom();

    public static void main(String[] arguments) throws Exception {
        PrivateKey key = key(Files.readString(Path.of(arguments[0])));
        URI url = URI.create(arguments[2]);
        for (HttpRequest request :
                new HttpRequest[] {
                    signed(key, arguments[1], "POST", url, arguments[3].getBytes(StandardCharsets.UTF_8)),
                    signed(key, arguments[1], "GET", url, new byte[0])
                }) {
            var response = CLIENT.send(request, BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
        }
    }

    static HttpRequest signed(PrivateKey key, String keyId, String method, URI url, byte[] content)
            throws Exception {
        Base64.Encoder base64 = Base64.getEncoder();
        Map<String, String> components = new LinkedHashMap<>();
        components.put("@method", method);
        components.put("@authority", authority(url));
        components.put("@path", url.getRawPath().isEmpty() ? "/" : url.getRawPath());
        components.put("@query", "?" + (url.getRawQuery() == null ? "" : url.getRawQuery()));
        var request = HttpRequest.newBuilder(url);
        if (content.length > 0) {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(content);
            components.put("content-type", "application/json");
            components.put("content-digest", "sha-256=:" + base64.encodeToString(digest) + ":");
            request.header("Content-Type", components.get("content-type"));
            request.header("Content-Digest", components.get("content-digest"));
        }
        byte[] nonce = new byte[16];
        RANDOM.nextBytes(nonce);
        String params = String.format(
                "(\"%s\");created=%d;nonce=\"%s\";keyid=\"%s\";alg=\"ed25519\";tag=\"countersign\"",
                String.join("\" \"", components.keySet()),
                Instant.now().getEpochSecond(),
                base64.encodeToString(nonce),
                keyId);
        var lines = new ArrayList<String>();
        components.forEach((name, value) -> lines.add("\"" + name + "\": " + value));
        lines.add("\"@signature-params\": " + params);
        Signature signature = Signature.getInstance("Ed25519");
        signature.initSign(key);
        signature.update(String.join("\n", lines).getBytes(StandardCharsets.US_ASCII));
        return request.method(method, HttpRequest.BodyPublishers.ofByteArray(content))
                .header("Signature-Input", "sig=" + params)
                .header("Signature", "sig=:" + base64.encodeToString(signature.sign()) + ":")
                .build();
    }

    /** In lower case, without the port that the scheme has anyway. */
    static String authority(URI url) {
        int usual = url.getScheme().equals("https") ? 443 : 80;
        String host = url.getHost().toLowerCase();
        return url.getPort() == -1 || url.getPort() == usual ? host : host + ":" + url.getPort();
    }

    static PrivateKey key(String pem) throws Exception {
        byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[^-]+-----", ""));
        return KeyFactory.getInstance("Ed25519").generatePrivate(new PKCS8EncodedKeySpec(der));
    }
}
