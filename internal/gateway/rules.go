package gateway

import (
	"errors"
	"io/fs"
	"os"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mtasts"
)

// rules are what a commit changes about deliveries, built once.
type rules struct {
	routes   *delivery.Routes
	sources  *delivery.Sources
	controls controls
}

func newRules(c *config.Config) (*rules, error) {
	routes, err := appliance.Routes(c)
	if err != nil {
		return nil, err
	}
	sources, err := parseSources(c)
	if err != nil {
		return nil, err
	}
	return &rules{routes: routes, sources: sources, controls: newControls(c)}, nil
}

func (g *Gateway) smtpRoutes() *delivery.Routes { return g.rules.Load().routes }

// possible reports whether mail that was perhaps delivered is left alone for longer.
func (g *Gateway) possible() bool { return g.Config.Committed().Delivery.Possible != config.Off }

// maxConnections gives the connections to all destinations together.
func maxConnections(c *config.Config) int {
	const most = 1000
	if c.Delivery.Concurrency > 0 {
		return c.Delivery.Concurrency
	}
	return most
}

// policyFile keeps the MTA-STS policies over a restart.
type policyFile string

// policyName is its name below the directory.
const policyName = "mta-sts.json"

func (g *Gateway) policyStore(opt Options) mtasts.Store {
	if opt.Check {
		return nil
	}
	return policyFile(g.Path(policyName))
}

// maxPolicyFile is more than the cache can fill.
const maxPolicyFile = 256 << 20

// Load implements mtasts.Store.
func (f policyFile) Load() ([]byte, error) {
	info, err := os.Stat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPolicyFile {
		return nil, errors.New("the file is too large to be ours")
	}
	return os.ReadFile(string(f))
}

// Save implements mtasts.Store.
func (f policyFile) Save(b []byte) error { return config.WriteFile(string(f), b, 0o600) }
