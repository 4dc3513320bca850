package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
	"lazaret/internal/outbreak"
)

const feedArgs = "keygen KEYFILE | check RULES | publish --key KEYFILE [--valid DAYS] RULES FEED | show [--pin KEY] FEED"

// runFeed writes feeds of outbreak rules (docs/outbreak.md): it needs no
// appliance, and its keys belong on none.
func runFeed(_ context.Context, e env, args []string) (int, error) {
	verbs := map[string]func(env, []string) error{"keygen": feedKey, "check": feedCheck, "publish": feedPublish, "show": feedShow}
	if len(args) == 0 {
		return 0, usageError{errors.New("say what to do: keygen, check, publish or show")}
	}
	if args[0] == "-h" || args[0] == "--help" {
		return 0, flag.ErrHelp
	}
	verb, ok := verbs[args[0]]
	if !ok {
		return 0, usageError{fmt.Errorf("%q is not keygen, check, publish or show", args[0])}
	}
	return 0, verb(e, args[1:])
}

func compileRule(p string) (*regexp.Regexp, error) { return match.Compile(p, false) }

// words reads flags and exactly so many words.
func words(f *flag.FlagSet, args []string, names ...string) ([]string, error) {
	rest, err := parse(f, args)
	if err == nil && len(rest) != len(names) {
		err = usageError{fmt.Errorf("feed %s takes %d words: %v", f.Name(), len(names), names)}
	}
	return rest, err
}

// feedKey makes a key pair. An existing file is never written over.
func feedKey(e env, args []string) error {
	w, err := words(flag.NewFlagSet("keygen", flag.ContinueOnError), args, "KEYFILE")
	if err != nil {
		return err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "making a key")
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "making a key")
	}
	f, err := os.OpenFile(w[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errs.Wrap(errs.Conflict, err, "the key file")
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close()); err != nil {
		return errs.Wrap(errs.Internal, err, "writing the key file")
	}
	public := outbreak.PublicKey(key)
	_, err = fmt.Fprintf(e.stdout, "The private key is in %s: keep it off the appliances.\nKey ID %s; gateways pin the public key:\n%s\n", w[0], public.ID(), public)
	return err
}

// feedCheck says whether rules are good, and changes nothing.
func feedCheck(e env, args []string) error {
	w, err := words(flag.NewFlagSet("check", flag.ContinueOnError), args, "RULES")
	if err != nil {
		return err
	}
	d, err := readDraft(w[0])
	if err != nil {
		return err
	}
	if _, _, err := d.Publish(0, time.Now(), time.Hour, compileRule); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s is good: %d rules of feed %s\n", w[0], len(d.Rules), d.Name)
	return err
}

func readDraft(path string) (*outbreak.Draft, error) {
	b, err := readLimited(path)
	if err != nil {
		return nil, err
	}
	d, err := outbreak.ReadDraft(b, time.Now())
	return d, errs.Context(err, "%s", path)
}

// readLimited reads a file that may be of any length.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errs.Wrap(errs.NotFound, err, "reading")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, outbreak.MaxFeed+1))
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "reading")
	}
	if len(b) > outbreak.MaxFeed {
		return nil, errs.New(errs.Full, "%s is longer than %d bytes", path, outbreak.MaxFeed)
	}
	return b, nil
}

// keyFiles is a flag that may stand several times.
type keyFiles []ed25519.PrivateKey

func (k *keyFiles) String() string { return "" }

func (k *keyFiles) Set(path string) error {
	b, err := readLimited(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return errs.New(errs.Invalid, "%s has no private key in PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return errs.New(errs.Invalid, "%s has no Ed25519 key", path)
	}
	*k = append(*k, private)
	return nil
}

// feedPublish signs rules and puts the feed in its place, in one step, under a
// serial that is one more than that of the feed that it replaces.
func feedPublish(e env, args []string) error {
	f := flag.NewFlagSet("publish", flag.ContinueOnError)
	var keys keyFiles
	f.Var(&keys, "key", "")
	days := f.Int("valid", 7, "")
	w, err := words(f, args, "RULES", "FEED")
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return usageError{errors.New("--key is missing")}
	case *days < 1 || *days > 365:
		return usageError{errors.New("--valid is 1 to 365 days")}
	}
	d, err := readDraft(w[0])
	if err != nil {
		return err
	}
	before, err := serialOf(w[1], d.Name)
	if err != nil {
		return err
	}
	text, feed, err := d.Publish(before, time.Now(), time.Duration(*days)*24*time.Hour, compileRule)
	if err != nil {
		return err
	}
	b, err := outbreak.Sign(text, keys...)
	if err != nil {
		return err
	}
	if err := config.WriteFile(w[1], b, 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s: feed %s serial %d, %d rules, the next one is due by %s\n", w[1], feed.Name, feed.Serial, len(feed.Rules), feed.Expires.Format(time.RFC3339))
	return err
}

// serialOf gives the serial of the feed that is replaced. Without one it is the
// first; one that cannot be read is not written over, for its serial would be lost.
func serialOf(path, name string) (uint64, error) {
	b, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := outbreak.Unverified(b, compileRule)
	switch {
	case err != nil:
		return 0, errs.New(errs.KindOf(err), "%s is there already and is no feed: %s", path, err)
	case f.Name != name:
		return 0, errs.New(errs.Conflict, "%s is the feed %s, not %s", path, f.Name, name)
	}
	return f.Serial, nil
}

// feedShow prints a feed and who signed it.
func feedShow(e env, args []string) error {
	f := flag.NewFlagSet("show", flag.ContinueOnError)
	pin := f.String("pin", "", "")
	w, err := words(f, args, "FEED")
	if err != nil {
		return err
	}
	b, err := readLimited(w[0])
	if err != nil {
		return err
	}
	if *pin != "" {
		key, err := outbreak.ParseKey(*pin)
		if err != nil {
			return err
		}
		if _, _, err := outbreak.Verify(b, []outbreak.Key{key}); err != nil {
			return err
		}
	}
	feed, err := outbreak.Unverified(b, compileRule)
	if err != nil {
		return err
	}
	signed := "nobody checked its signature: give --pin"
	if *pin != "" {
		signed = "its signature is good"
	}
	if _, err := fmt.Fprintf(e.stdout, "feed %s serial %d, published %s, the next one is due by %s; %s\n",
		feed.Name, feed.Serial, feed.Published.Format(time.RFC3339), feed.Expires.Format(time.RFC3339), signed); err != nil {
		return err
	}
	for _, r := range feed.Rules {
		if _, err := fmt.Fprintf(e.stdout, "%-40s level %d  %-8s %s\n", r.ID, r.Level, r.Kind, r.Text); err != nil {
			return err
		}
	}
	return nil
}
