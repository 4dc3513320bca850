package admin

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// Certificates are those of SMTP that an appliance holds, and what it has to
// say about all that run out.
type Certificates interface {
	Held() []certs.Held
	Attention() []string
	// ImportCertificate writes a pair below the appliance's directory, in place
	// of an older one of that name, and gives the name for certificate_file.
	ImportCertificate(name string, cert, key []byte) (string, error)
}

// maxPaste is how long a pasted certificate may be.
const maxPaste = 256 << 10

func (f Configuration) certCommands() []Command {
	if f.Keys == nil {
		return nil
	}
	return []Command{{Name: "certconfig", Summary: "Show and change the certificates of SMTP",
		Usage: "certconfig\ncertconfig print\ncertconfig paste NAME   (certificate, chain and key in PEM are read from the input, to a line with a dot)\n" +
			"certconfig import NAME CERTIFICATE_FILE [KEY_FILE]\ncertconfig setup NAME CERTIFICATE_FILE [KEY_FILE]\ncertconfig delete NAME\ncertconfig assign LISTENER [NAME[,NAME...]]",
		Right: auth.ConfigChange, MaxArgs: 4, Input: true, Run: f.cert}}
}

// cert is reference 6.1: certificates and where they are used.
func (f Configuration) cert(_ context.Context, c *Call) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			f.printCerts(c, conf)
			if c.Batch {
				return nil
			}
		}
		word, err := c.Menu(Choice{"PRINT", "Show the certificates."}, Choice{"PASTE", "Paste a certificate, its chain and its key."},
			Choice{"IMPORT", "Copy a certificate and its key from files."}, Choice{"SETUP", "Use files where they are; they are read again when they change."},
			Choice{"DELETE", "Remove a certificate."}, Choice{"ASSIGN", "Choose the certificates of a listener."})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "print":
			f.printCerts(c, conf)
		case "paste":
			err = f.pasteCert(c)
		case "import", "setup":
			err = f.fileCert(c, word == "import")
		case "delete":
			err = f.deleteCert(c, conf)
		case "assign":
			err = f.assignCert(c, conf)
		}
		if err = badArguments(err); err != nil || c.Batch {
			return err
		}
	}
}

func (f Configuration) printCerts(c *Call, conf *config.Config) {
	c.Printf("%-16s %-12s %-30s %s\n", "Certificate", "Valid to", "For", "Used by")
	held := f.Keys.Held()
	for _, h := range held {
		users := conf.CertificateUsers(h.Name)
		if len(users) == 0 {
			users = []string{"nobody"}
		}
		c.Printf("%-16s %-12s %-30s %s\n", Plain(h.Name), h.Pair.Leaf.NotAfter.UTC().Format(time.DateOnly),
			Plain(Clip(strings.Join(h.Pair.Names(), ", "), 200)), Plain(strings.Join(users, ", ")))
	}
	for _, k := range conf.Certificates {
		if !slices.ContainsFunc(held, func(h certs.Held) bool { return h.Name == k.Name }) {
			c.Printf("%-16s %-12s %s\n", Plain(k.Name), "-", "not loaded: commit puts a new one in use; "+Plain(k.Cert))
		}
	}
	if f.Link != nil {
		for _, line := range f.Link.LinkLines() {
			c.Printf("%s\n", Plain(line))
		}
	}
	for _, line := range f.Keys.Attention() {
		c.Printf("Attention: %s\n", Plain(line))
	}
}

func (f Configuration) certName(c *Call) (string, error) {
	name, err := c.Ask("Enter a name for this certificate.", "")
	if err == nil && (!config.ValidCertificateName(name) || name == certs.System) {
		err = Usage("%q is not a name of 1 to 64 letters, digits, -, _ and ., or it is %s", Clip(name, 80), certs.System)
	}
	return name, err
}

// pasteCert reads PEM up to a line with a dot, or the end of the input.
func (f Configuration) pasteCert(c *Call) error {
	name, err := f.certName(c)
	if err != nil {
		return err
	}
	c.Printf("Paste the certificate, its chain and its key in PEM, then a line with a single dot.\n")
	var b strings.Builder
	for {
		line, err := c.Line("")
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if strings.TrimSpace(line) == "." {
			break
		}
		b.WriteString(line + "\n")
		if b.Len() > maxPaste {
			return Usage("more than %d bytes were pasted", maxPaste)
		}
		if err != nil {
			break
		}
	}
	return f.takeCert(c, name, []byte(b.String()), []byte(b.String()))
}

// takeCert writes a pair into the appliance's own directory.
func (f Configuration) takeCert(c *Call, name string, cert, key []byte) error {
	file, err := f.Keys.ImportCertificate(name, cert, key)
	if err != nil {
		c.Audit("import certificate "+name, "refused: "+errs.Public(err))
		return err
	}
	c.Audit("import certificate "+name, "ok")
	return f.keepCert(c, config.Certificate{Name: name, Cert: file})
}

// keepCert puts a certificate into the pending configuration.
func (f Configuration) keepCert(c *Call, k config.Certificate) error {
	err := f.Store.Change(c.Principal, "certificate "+quoted([]string{k.Name, k.Cert, k.Key}), func(next *config.Config) error {
		next.Certificates = slices.DeleteFunc(next.Certificates, func(o config.Certificate) bool { return o.Name == k.Name })
		next.Certificates = append(next.Certificates, k)
		return nil
	})
	if err != nil {
		return err
	}
	if _, pending := f.Store.Pending(); pending {
		c.Printf("Commit to put this in force, and assign it to a listener.\n")
	} else {
		c.Printf("The certificate %s is taken up within some seconds.\n", Plain(k.Name))
	}
	return nil
}

func (f Configuration) fileCert(c *Call, copied bool) error {
	name, err := f.certName(c)
	if err != nil {
		return err
	}
	cert, err := c.Ask("Enter the file of the certificate and its chain.", "")
	if err != nil {
		return err
	}
	key, err := c.Ask("Enter the file of the key; empty when it is in the same file.", "")
	if err != nil {
		return err
	}
	if cert == "" {
		return Usage("a file is needed")
	}
	at := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(f.Dir, name)
	}
	source := certs.Source{Name: name, Cert: at(cert), Key: at(key)}
	if _, err := source.Load(f.Clock()); err != nil {
		return errs.New(errs.Invalid, "%s", err.Error())
	}
	if !copied {
		return f.keepCert(c, config.Certificate{Name: name, Cert: cert, Key: key})
	}
	certPEM, err := f.ReadFile(source.Cert)
	if err != nil {
		return err
	}
	keyPEM := certPEM
	if source.Key != "" {
		if keyPEM, err = f.ReadFile(source.Key); err != nil {
			return err
		}
	}
	return f.takeCert(c, name, certPEM, keyPEM)
}

func (f Configuration) deleteCert(c *Call, conf *config.Config) error {
	var names []string
	for _, k := range conf.Certificates {
		names = append(names, k.Name)
	}
	if len(names) == 0 {
		return errs.New(errs.NotFound, "No certificates have been added")
	}
	i, err := c.Pick("Choose the certificate to remove.", names, 0)
	if err != nil {
		return err
	}
	if users := conf.CertificateUsers(names[i]); len(users) > 0 {
		return errs.New(errs.Conflict, "The certificate %s is used by %s", names[i], strings.Join(users, ", "))
	}
	err = f.Store.Change(c.Principal, "remove certificate "+names[i], func(next *config.Config) error {
		next.Certificates = slices.DeleteFunc(next.Certificates, func(o config.Certificate) bool { return o.Name == names[i] })
		return nil
	})
	if err == nil {
		c.Printf("The certificate %s has been removed; its files stay. Commit to put this in force.\n", Plain(names[i]))
	}
	return err
}

func (f Configuration) assignCert(c *Call, conf *config.Config) error {
	var listeners []string
	for _, l := range conf.Listeners {
		if l.Protocol == "SMTP" {
			listeners = append(listeners, l.Name)
		}
	}
	if len(listeners) == 0 {
		return errs.New(errs.NotFound, "There is no SMTP listener")
	}
	i, err := c.Pick("Choose the listener.", listeners, 0)
	if err != nil {
		return err
	}
	list, err := c.Ask("Enter its certificates, with commas between; the client's name for us (SNI) chooses among them, else the first.", certs.System)
	if err != nil {
		return err
	}
	names := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
	if len(names) == 1 && names[0] == certs.System {
		names = nil
	}
	err = f.Store.Change(c.Principal, "certificates of listener "+quoted(append([]string{listeners[i]}, names...)), func(next *config.Config) error {
		l := next.Listener(listeners[i])
		if l == nil {
			return errs.New(errs.NotFound, "The listener %s does not exist", listeners[i])
		}
		l.Certificates = names
		return nil
	})
	if err == nil {
		c.Printf("Commit to put this in force.\n")
	}
	return err
}
