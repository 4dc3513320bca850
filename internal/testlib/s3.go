package testlib

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// S3Server is a real S3 server, versitygw, that keeps objects in plain files.
type S3Server struct {
	Endpoint, Access, Secret, Bucket string
	Dir                              string // of the bucket's files
}

// S3Options of a server.
type S3Options struct {
	Cert, Key string // files; empty: no TLS
}

// NewS3 starts a server with one empty bucket. The test is skipped where it is
// not installed; test.sh installs it from tools/s3.
func NewS3(t testing.TB, o S3Options) *S3Server {
	t.Helper()
	program, err := findGo("versitygw")
	if err != nil {
		Absent(t, "no versitygw here")
	}
	dir, err := os.MkdirTemp("", "s3-") // unlike TempDir, its removal is no failure while the server still writes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := FreePort(t)
	s := &S3Server{Endpoint: "http://" + at.String(), Access: "testaccess", Secret: "testsecret", Bucket: "lazaret-test", Dir: filepath.Join(dir, "data", "lazaret-test")}
	args := []string{"--port", at.String(), "--quiet", "--iam-dir", filepath.Join(dir, "iam")}
	if o.Cert != "" {
		s.Endpoint = fmt.Sprintf("https://localhost:%d", at.Port())
		args = append(args, "--cert", o.Cert, "--key", o.Key)
	}
	for _, sub := range []string{"data", "meta", "iam"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, append(args, "posix", "--sidecar", filepath.Join(dir, "meta"), filepath.Join(dir, "data"))...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.Access, "ROOT_SECRET_KEY="+s.Secret)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// The server is asked for the bucket until it is there: it says nothing when it is ready.
	tr := &http.Transport{DisableKeepAlives: true}
	if o.Cert != "" {
		return s // the caller makes the bucket: it knows whom to trust
	}
	for range 400 {
		if err = s.MakeBucket(tr, s.Bucket); err == nil {
			return s
		}
		<-time.After(25 * time.Millisecond) // a foreign process: there is nothing to wait for
	}
	b, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Fatalf("versitygw does not answer: %v\n%s", err, b)
	return nil
}

// MakeBucket makes one more bucket, or takes the one that is there.
func (s *S3Server) MakeBucket(tr http.RoundTripper, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.Endpoint+"/"+name, nil)
	if err != nil {
		return err
	}
	r.Header.Set("X-Amz-Content-Sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855") // of nothing
	a, err := tr.RoundTrip(signer.SignV4(*r, s.Access, s.Secret, "", "us-east-1"))
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if b, _ := io.ReadAll(a.Body); a.StatusCode != http.StatusOK && a.StatusCode != http.StatusConflict {
		return fmt.Errorf("%s: %s", a.Status, b)
	}
	return nil
}

// findGo finds a program in the path or where "go install" puts it.
func findGo(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	dir := os.Getenv("GOBIN")
	if dir == "" {
		out, err := exec.Command("go", "env", "GOPATH").Output()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(string(out[:max(len(out)-1, 0)]), "bin")
	}
	return exec.LookPath(filepath.Join(dir, name))
}

// AddUser makes a user who may do nothing yet.
func (s *S3Server) AddUser(t testing.TB, access, secret string) {
	t.Helper()
	program, err := findGo("versitygw")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "admin", "--endpoint-url", s.Endpoint, "--access", s.Access, "--secret", s.Secret,
		"create-user", "--access", access, "--secret", secret, "--role", "user")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
