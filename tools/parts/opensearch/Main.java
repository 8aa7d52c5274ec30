package ai102.opensearch;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.opensearch.Version;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.cluster.service.ClusterService;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.painless.PainlessPlugin;
import org.opensearch.script.mustache.MustachePlugin;
import org.opensearch.transport.Netty4Plugin;

/** One OpenSearch node from jars: opensearch -Epath.home=FOLDER [-Ekey=value ...], or opensearch --version. */
public final class Main extends Node {
    private static final long STOP_SECONDS = 10;
    private static final String USAGE = "usage: opensearch -Epath.home=FOLDER [-Ekey=value ...] | --version";

    private Main(Environment environment) {
        super(
            environment,
            List.of(
                Netty4Plugin.class,
                CommonAnalysisPlugin.class,
                MapperExtrasPlugin.class,
                MustachePlugin.class,
                PainlessPlugin.class,
                ReindexPlugin.class
            ),
            true
        );
    }

    @Override
    protected void configureNodeAndClusterIdStateListener(ClusterService service) {
        // Both ids are for the log lines of the distribution, which has classes for them that are not here.
    }

    public static void main(String[] arguments) throws Exception {
        if (List.of(arguments).equals(List.of("--version"))) {
            System.out.println("OpenSearch " + Version.CURRENT);
            return;
        }
        Map<String, String> properties = properties(arguments);
        if (!properties.containsKey("path.home")) {
            exit(USAGE);
        }
        Main node = new Main(
            InternalSettingsPreparer.prepareEnvironment(Settings.EMPTY, properties, configurationFolder(), () -> "opensearch")
        );
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(node)));
        node.start();
        Thread.currentThread().join();
    }

    private static Map<String, String> properties(String[] arguments) {
        Map<String, String> properties = new HashMap<>(Map.of("cluster.name", "ai102", "discovery.type", "single-node"));
        for (String argument : arguments) {
            int equals = argument.indexOf('=');
            if (!argument.startsWith("-E") || equals < 0) {
                exit(argument + " is no option; " + USAGE);
            }
            properties.put(argument.substring(2, equals), argument.substring(equals + 1));
        }
        return properties;
    }

    /** Where opensearch.yml is, if there is one; null means config in path.home. */
    private static Path configurationFolder() {
        String folder = System.getenv("OPENSEARCH_PATH_CONF");
        return folder == null ? null : Path.of(folder);
    }

    private static void stop(Main node) {
        try {
            node.close();
            node.awaitClose(STOP_SECONDS, TimeUnit.SECONDS);
        } catch (Exception failure) {
            System.err.println("opensearch: it did not stop in order: " + failure);
        }
    }

    private static void exit(String message) {
        System.err.println("opensearch: " + message);
        System.exit(2);
    }
}
