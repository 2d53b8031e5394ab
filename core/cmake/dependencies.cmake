# Libraries the core stands on, all found by pkg-config. The same list is in
# install.cmake and reeveConfig.cmake.in for those who link statically.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis>=0.14.1)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson>=1.7.14)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.37)

set(REEVE_DEPENDENCIES
    PkgConfig::HIREDIS PkgConfig::CJSON PkgConfig::OPENSSL PkgConfig::SQLITE
    Threads::Threads)
