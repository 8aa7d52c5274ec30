// Kubernetes in one program: it is what it is called as, or what its first argument names.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	genericapiserver "k8s.io/apiserver/pkg/server"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Each command is made only when it is wanted: making one sets up flags and feature gates of the process.
var programs = map[string]func(){
	"kube-apiserver":          func() { run(context.Background(), apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { run(context.Background(), controllermanager.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { run(genericapiserver.SetupSignalContext(), scheduler.NewSchedulerCommand()) },
	"kube-proxy":              func() { run(context.Background(), proxy.NewProxyCommand()) },
	"kubelet":                 func() { run(context.Background(), kubelet.NewKubeletCommand(context.Background())) },
	"kubectl":                 runKubectl,
}

func main() {
	program := programs[filepath.Base(os.Args[0])]
	if program == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		program = programs[os.Args[0]]
	}
	if program == nil {
		names := make([]string, 0, len(programs))
		for name := range programs {
			names = append(names, name)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "name the program in the first argument: %s\n", strings.Join(names, ", "))
		os.Exit(2)
	}
	program()
}

func run(ctx context.Context, command *cobra.Command) {
	os.Exit(cli.RunContext(ctx, command))
}

// kubectl prints its errors itself.
func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
