// Signs and sends with Go's standard library alone.
//
//	go run signed_order.go KEY.pem PUBLISHABLE_KEY URL JSON
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// Signer is a RoundTripper that signs each request last, after whatever else changes it.
type Signer struct {
	Key   ed25519.PrivateKey
	KeyID string
	Next  http.RoundTripper
}

func (s Signer) RoundTrip(unsigned *http.Request) (*http.Response, error) {
	request := unsigned.Clone(unsigned.Context()) // a RoundTripper changes no request
	url := request.URL
	authority := strings.ToLower(url.Host)
	authority = strings.TrimSuffix(authority, map[string]string{"http": ":80", "https": ":443"}[url.Scheme])
	path := url.EscapedPath()
	if path == "" {
		path = "/"
	}
	names := []string{"@method", "@authority", "@path", "@query"}
	values := []string{request.Method, authority, path, "?" + url.RawQuery}
	if request.Body != nil && request.Body != http.NoBody {
		content, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		request.Body = io.NopCloser(bytes.NewReader(content))
		digest := sha256.Sum256(content)
		encoded := base64.StdEncoding.EncodeToString(digest[:])
		request.Header.Set("Content-Digest", "sha-256=:"+encoded+":")
	}
	for _, name := range []string{
		"content-type", "content-encoding", "content-digest", "authorization", "idempotency-key",
	} {
		if value := request.Header.Get(name); value != "" {
			names, values = append(names, name), append(values, value)
		}
	}
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	params := fmt.Sprintf(
		`("%s");created=%d;nonce="%s";keyid="%s";alg="ed25519";tag="countersign"`,
		strings.Join(names, `" "`), time.Now().Unix(), base64.StdEncoding.EncodeToString(nonce), s.KeyID,
	)
	var base strings.Builder
	for at, name := range names {
		fmt.Fprintf(&base, "\"%s\": %s\n", name, values[at])
	}
	base.WriteString(`"@signature-params": ` + params)
	signature := base64.StdEncoding.EncodeToString(ed25519.Sign(s.Key, []byte(base.String())))
	request.Header.Set("Signature-Input", "sig="+params)
	request.Header.Set("Signature", "sig=:"+signature+":")
	return s.Next.RoundTrip(request)
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	signer := Signer{key.(ed25519.PrivateKey), os.Args[2], http.DefaultTransport}
	client := &http.Client{Transport: signer} // signs the request of a redirect anew
	for _, content := range []string{os.Args[4], ""} {
		method, body := "GET", io.Reader(nil)
		if content != "" {
			method, body = "POST", strings.NewReader(content)
		}
		request, err := http.NewRequest(method, os.Args[3], body)
		if err != nil {
			log.Fatal(err)
		}
		if content != "" {
			request.Header.Set("Content-Type", "application/json")
		}
		response, err := client.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		answer, _ := io.ReadAll(response.Body)
		fmt.Println(response.StatusCode, string(answer))
	}
}
