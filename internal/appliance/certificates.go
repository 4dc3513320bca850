package appliance

import (
	"context"
	"crypto/tls"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// pollEvery is how soon a changed certificate file is noticed, and expireEvery
// how often the dates are looked at.
const (
	pollEvery   = 10 * time.Second
	expireEvery = time.Hour
)

// day is how dates of certificates are written.
const day = "2 Jan 2006"

// openCertificates reads the CPQ certificates and those of SMTP. A configured
// file that is no good any more does not keep the appliance from starting: the
// listener shows what there is, and the administrators are told.
func (a *Appliance) openCertificates(c *config.Config) (err error) {
	if a.CPQ, err = certs.OpenOwn(a.Path(keysName), c.Serial, a.Now); err != nil {
		return err
	}
	system := certs.Source{Cert: a.Path(keysName, "tls.crt"), Key: a.Path(keysName, "tls.key")}
	if a.Keys, err = certs.NewKeyring(system, a.Now); err != nil {
		return err
	}
	if a.opt.Check {
		return errs.Context(a.checkCertificates(c), "%s", a.Path(ConfigName))
	}
	if err := a.CPQ.Sweep(); err != nil {
		a.Log.Warning(err.Error())
	}
	if err := a.Keys.Set(c.Sources(a.Dir), true); err != nil {
		a.Alert(AlertCertificate, err.Error())
	}
	return nil
}

// checkCertificates refuses a configuration that names files which are no good.
func (a *Appliance) checkCertificates(c *config.Config) error {
	if err := a.Keys.Check(c.Sources(a.Dir)); err != nil {
		return errs.New(errs.Invalid, "config/certificates/certificate: %s", err.Error())
	}
	return nil
}

// PollCertificates takes up certificate files that changed. atOnce tells of a
// broken one at the first look; else the second look does, for a pair is
// written one file after the other.
func (a *Appliance) PollCertificates(atOnce bool) {
	for _, c := range a.Keys.Poll(atOnce) {
		if c.Fault != "" {
			a.Alert(AlertCertificate, "certificate "+c.Name+": the changed files are not used, the old certificate stays: "+c.Fault)
			continue
		}
		a.Log.CertificateLoaded(c.Name, c.Pair.Leaf.NotAfter.UTC().Format(day))
	}
}

// KeepCertificates looks after files and dates until ctx ends.
func (a *Appliance) KeepCertificates(ctx context.Context) {
	a.CheckExpiry()
	poll, expire := time.NewTicker(pollEvery), time.NewTicker(expireEvery)
	defer poll.Stop()
	defer expire.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.opt.Reread:
			a.PollCertificates(true)
			a.CheckExpiry()
		case <-poll.C:
			a.PollCertificates(false)
		case <-expire.C:
			a.CheckExpiry()
			a.AdvanceRenewal(false)
		}
	}
}

// OutboundTLS is the base of TLS for deliveries by SMTP, by the configuration
// in force.
func (a *Appliance) OutboundTLS() *tls.Config {
	ssl := a.Config.Committed().SSL
	c := &tls.Config{GetClientCertificate: a.Keys.Client(ssl.OutboundCert)}
	if err := ssl.Outbound().Apply(c); err != nil { // checked when it was loaded
		a.Log.Fault("configuration", err.Error())
		c.MinVersion = tls.VersionTLS12
	}
	return c
}

// Held gives the certificates of SMTP.
func (a *Appliance) Held() []certs.Held { return a.Keys.All() }

// ImportCertificate writes a pair into keys/certificates, where the poll finds
// it if one of that name is in use.
func (a *Appliance) ImportCertificate(name string, cert, key []byte) (string, error) {
	if _, err := certs.Import(a.Path(keysName, "certificates"), name, cert, key, a.Now()); err != nil {
		return "", errs.New(errs.KindOf(err), "%s", err.Error())
	}
	return keysName + "/certificates/" + name + ".pem", nil
}
