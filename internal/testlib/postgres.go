package testlib

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server of one test package, with a fresh cluster on
// a Unix socket. It ends with the process.
type Postgres struct {
	dir    string
	bin    string
	cred   *syscall.Credential
	params []string
	proc   *os.Process
	gone   chan error
	log    bytes.Buffer
	n      atomic.Int64
}

// StartPostgres makes a cluster and starts a server on it. Without fsync,
// unless params, such as "fsync=on", say otherwise: most tests are not about
// power cuts.
func StartPostgres(params ...string) (p *Postgres, err error) {
	p = &Postgres{params: params}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return nil, errors.New("PostgreSQL is not installed (Debian package postgresql)")
	}
	p.bin = filepath.Dir(slices.Max(found))
	if p.dir, err = os.MkdirTemp("", "pg"); err != nil {
		return nil, err
	}
	if err = p.unprivileged(); err == nil {
		cmd := p.command("initdb", "-D", p.data(), "-U", "lazaret", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
		if out, e := cmd.CombinedOutput(); e != nil {
			err = fmt.Errorf("initdb: %w: %s", e, out)
		}
	}
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	return p, nil
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// unprivileged finds somebody to run the server as: it refuses to be root.
func (p *Postgres) unprivileged() error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		p.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(p.dir, int(uid), int(gid))
	}
	return errors.New("there is no user postgres or nobody to run the server as")
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=" + p.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.cred, Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	return cmd
}

// Start starts the server and waits until it answers.
func (p *Postgres) Start() error {
	args := []string{"-D", p.data(), "-k", p.dir, "-h", "", "-c", "max_connections=200", "-c", "shared_buffers=64MB"}
	if !slices.ContainsFunc(p.params, func(s string) bool { return strings.HasPrefix(s, "fsync=") }) {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	for _, s := range p.params {
		args = append(args, "-c", s)
	}
	cmd := p.command("postgres", args...)
	p.log.Reset()
	cmd.Stdout, cmd.Stderr = &p.log, &p.log
	started := make(chan error, 1)
	p.gone = make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the server dies with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err == nil {
			p.gone <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.proc = cmd.Process
	for range 600 {
		select {
		case err := <-p.gone:
			return fmt.Errorf("the server ended: %w: %s", err, p.log.String())
		default:
		}
		if p.do("postgres", "SELECT 1") == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(errors.New("the server does not answer"), p.Stop(syscall.SIGQUIT))
}

// Stop ends the server: SIGINT is a clean end, SIGQUIT is like a crash, as far
// as what it had not synced goes.
func (p *Postgres) Stop(sig syscall.Signal) error {
	if err := p.proc.Signal(sig); err != nil {
		return err
	}
	<-p.gone
	return nil
}

// End ends the server and removes the cluster.
func (p *Postgres) End() error { return errors.Join(p.Stop(syscall.SIGQUIT), os.RemoveAll(p.dir)) }

// DSN is the address of a database.
func (p *Postgres) DSN(name string) string {
	return "host=" + p.dir + " user=lazaret dbname=" + name
}

func (p *Postgres) do(name, query string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, p.DSN(name))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, query)
	return errors.Join(err, c.Close(ctx))
}

// Database makes an empty database and gives its DSN.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	name := "t" + strconv.FormatInt(p.n.Add(1), 10)
	if err := p.do("postgres", "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.do("postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Log(err) // a test may have ended the server
		}
	})
	return p.DSN(name)
}

// Dir is where the server's socket is.
func (p *Postgres) Dir() string { return p.dir }
