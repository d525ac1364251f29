# Writes performance.csv and pbc.csv beside itself: Rscript performance.R
# R 4.2.2; survival 3.5-3, riskRegression 2022.11.28, rms 6.5-0, mice 3.15.0, cmprsk 2.2-11 (Debian 12)
suppressMessages({library(survival); library(riskRegression); library(rms); library(mice); library(cmprsk)})
found <- list()
keep <- function(name, values) found[[length(found) + 1]] <<- data.frame(name = name, k = seq_along(values), value = as.numeric(values))

# the 227 patients of lung whose performance status is known
d <- na.omit(lung[, c("time", "status", "age", "sex", "ph.ecog")]); d$event <- d$status - 1
f <- coxph(Surv(time, event) ~ age + sex + ph.ecog, d, x = TRUE, y = TRUE); d$lp <- predict(f)
for (until in c(500, 883)) {
  u <- concordance(Surv(time, event) ~ lp, d, timewt = "n/G2", ymax = until, reverse = TRUE)
  keep(paste0("uno ", until), c(coef(u), sqrt(vcov(u))))
}
for (at in c(180, 365, 500)) keep(paste0("risk ", at), 1 - summary(survfit(f, newdata = d), times = at)$surv[1:20])
s <- summary(survfit(Surv(time, event) ~ sex, d), rmean = 500)$table
keep("restricted mean", s[, "rmean"]); keep("restricted mean error", s[, "se(rmean)"])

# likelihood ratio of performance status beside age and sex
keep("cox lr", 2 * diff(coxph(Surv(time, event) ~ age + sex, d)$loglik[2] |> c(f$loglik[2])))
g1 <- glm(event ~ age + sex, binomial, d, epsilon = 1e-14); g2 <- glm(event ~ age + sex + ph.ecog, binomial, d, epsilon = 1e-14)
keep("logistic lr", deviance(g1) - deviance(g2)); keep("logistic coefficients", coef(g2))

# optimism by Harrell's bootstrap, on resamples that a formula draws
n <- nrow(d); x <- as.matrix(d[, c("age", "sex", "ph.ecog")])
rows_of <- function(b) ((0:(n - 1))^2 * 7 + (0:(n - 1)) * b * 13 + b * b * 5) %% n + 1
cc <- function(rows, lp) concordance(Surv(d$time[rows], d$event[rows]) ~ lp, reverse = TRUE)$concordance
measure <- function(fit, rows) { lp <- drop(x[rows, ] %*% fit$coefficients)
  c(cc(rows, lp), coxph(Surv(d$time[rows], d$event[rows]) ~ lp)$coefficients) }
gap <- sapply(1:20, function(b) { rows <- rows_of(b); fit <- coxph(Surv(time[rows], event[rows]) ~ x[rows, ], d)
  measure(fit, rows) - measure(fit, 1:n) })
keep("cox optimism", rowMeans(gap))

# area and Brier score at a time, on times without ties: with ties riskRegression's errors count tied patients otherwise
t3 <- d[order(d$time, -d$event), ]; t3$time <- t3$time + seq_len(n) / 1000
f3 <- coxph(Surv(time, event) ~ age + sex + ph.ecog, t3, x = TRUE, y = TRUE)
S <- Score(list(m = f3), formula = Surv(time, event) ~ 1, data = t3, times = c(180, 365, 500), conf.int = TRUE,
           cens.model = "km", metrics = c("auc", "brier"), contrasts = FALSE)
a <- as.data.frame(S$AUC$score); keep("area", a$AUC); keep("area error", a$se)
b <- as.data.frame(S$Brier$score); m <- b$model == "m"
keep("brier", b$Brier[m]); keep("brier error", b$se[m]); keep("brier null", b$Brier[!m])

# calibration at a time: slope of log(-log(1 - risk))
p <- 1 - exp(-exp(0.5 * d$lp - 0.5)); cl <- log(-log(1 - p))
k <- coxph(Surv(time, event) ~ cl, d); keep("slope at time", c(coef(k), sqrt(vcov(k))))

# pbc: death, and transplantation as the competing event
q <- pbc[1:312, c("time", "status", "trt", "age", "bili")]; q$kind <- c(0, 2, 1)[q$status + 1]
write.csv(q[, c("time", "kind", "trt", "age", "bili")], "pbc.csv", row.names = FALSE, quote = FALSE)
w <- survfit(Surv(time, factor(kind)) ~ trt, q)
for (at in c(365, 1500, 3000)) { r <- summary(w, times = at)
  keep(paste0("incidence ", at), r$pstate[, 2]); keep(paste0("incidence error ", at), r$std.err[, 2]) }
cs <- coxph(Surv(time, kind == 1) ~ trt, q); keep("cause specific", c(coef(cs), sqrt(vcov(cs))))

# Fine and Gray's model; with times in hundreds of days events and censorings tie
fine_gray <- function(name, time, kind, x) { m <- crr(time, kind, x, gtol = 1e-12)
  keep(name, m$coef); keep(paste(name, "error"), sqrt(diag(m$var))); keep(paste(name, "likelihood"), m$loglik) }
fine_gray("fine gray", q$time, q$kind, as.matrix(q["trt"])); three <- as.matrix(q[c("trt", "age", "bili")])
fine_gray("fine gray of three", q$time, q$kind, three); fine_gray("fine gray of a transplant", q$time, (3 - q$kind) %% 3, three)
fine_gray("fine gray with ties", ceiling(q$time / 100), q$kind, three)

# distance from a smooth calibration curve
y <- as.numeric(q$kind == 1); g <- glm(y ~ age + log(bili), binomial, q, epsilon = 1e-14); p <- plogis(0.8 * predict(g) + 0.2)
v <- val.prob(p, y, pl = FALSE); keep("val.prob", v[c("Eavg", "E90", "Emax", "Brier")])
sm <- lowess(p, y, iter = 0); keep("e50", median(abs(p - approx(sm, xout = p, ties = mean)$y)))
# the same intercept and slope for both treatments?
l <- qlogis(p); keep("calibration by treatment", deviance(glm(y ~ l, binomial, epsilon = 1e-14)) - deviance(glm(y ~ l * q$trt, binomial, epsilon = 1e-14)))

# Rubin's rules
est <- c(0.31, 0.28, 0.45, 0.33, 0.39); err <- c(0.12, 0.11, 0.13, 0.12, 0.125)
for (freedom in c(Inf, 40)) { r <- pool.scalar(est, err^2, n = freedom + 1, k = 1)
  keep(paste0("pool ", freedom), c(r$qbar, sqrt(r$t), r$df, (1 + 1 / 5) * r$b / r$t)) }
out <- do.call(rbind, found); out$value <- sprintf("%.15g", out$value)
write.csv(out, "performance.csv", row.names = FALSE, quote = FALSE)
