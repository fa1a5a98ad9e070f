/* Where the firmware on Linux keeps its keys. */
#include "xsmc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "its-directory.h"

/* usePrivateDirectory(path): boolean. Makes the directory for this user alone, and `keys` in it for PSA. */
void xs_use_private_directory(xsMachine *the)
{
    char keys[PATH_MAX];
    const char *path = xsmcToString(xsArg(0));
    bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
    int size = snprintf(keys, sizeof keys, "%s/keys", path);
    if (!made || size < 0 || (size_t) size >= sizeof keys || !its_directory_set(keys)) {
        xsUnknownError("the directory for keys cannot be made");
    }
    xsmcSetTrue(xsResult);
}
